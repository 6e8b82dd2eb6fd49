"""Mistakes of labels: missing ones, ones from which a model cannot learn, and ones that the features give away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from authoring.check.features import Features, size
from authoring.check.finding import Finding
from authoring.check.source_lines import Declaration
from ratchet.models.metrics import usable
from ratchet.use_case.columns import EVENT_TIMESTAMP, LABEL_COLUMNS, REQUEST_ID
from ratchet.use_case.contract import Array, Columns, Kind, Task, UseCase

if TYPE_CHECKING:
    import ibis

GIVEN_AWAY = "label-in-features"
NEARLY_PERFECT = 0.999
WRONG = 0.05
"""Up to this share of the labels, invalid ones are left to the rules."""
FEWEST = 100
"""The fewest rows on which an input is judged."""
Floats = npt.NDArray[np.float64]


def check_labels(features: Features, where: Declaration) -> Iterator[Finding]:
    """Check that there are labels, and that a model can be fitted to them."""
    use_case, wanted = features.sample.run.use_case, features.sample.run.settings.gate.min_label_coverage
    place, labelled = where.function(use_case.examples), size(features.labelled)
    due = _due(features)
    asked = size(due)
    without = size(due.anti_join(features.labelled, REQUEST_ID))
    if not size(features.requests):
        yield Finding(
            "no-examples",
            place,
            f"`examples` gives no request from {sum(rows.num_rows for rows in features.sample.tables.values()):,} rows",
            "Check its filters and joins: one of them keeps no row",
        )
    elif without > asked * (1 - wanted):
        yield Finding(
            "no-label",
            place,
            f"{without:,} of {asked:,} examples have no label, and the gate wants one for {wanted:.0%}"
            if labelled
            else "no example has a label",
            "Let `label` be the outcome if it is known, such as 0 if nothing happened in time. Null means not known yet. "
            "If outcomes stay unknown for good, lower `gate.min_label_coverage`",
        )
    if labelled:
        yield from _values(use_case, features.rows["label"], place)


def _due(features: Features) -> ibis.Table:
    """The requests whose outcome is due by the sample's end.

    The gate judges no model on the fresh period, so its requests count only if the sample has no earlier ones.
    """
    timestamp = features.requests[EVENT_TIMESTAMP]
    due = features.requests.filter(timestamp <= features.sample.last - features.sample.run.use_case.horizon)
    judged = due.filter(due[EVENT_TIMESTAMP] < features.sample.run.period("fresh").start)
    return judged if size(judged) else due


def check_inputs(use_case: UseCase, columns: Columns, where: Declaration) -> Iterator[Finding]:
    """Find inputs that give the label away. `columns` are labelled requests with all possible inputs."""
    labels = columns["label"]
    are_usable = usable(use_case.task, labels)
    for name, kind in use_case.inputs.items():
        if name in LABEL_COLUMNS:
            continue
        try:
            strength = _strength(np.asarray(columns[name])[are_usable], kind, labels[are_usable], use_case.task)
        except ValueError:
            yield _no_number(name, where)
            continue
        if strength >= NEARLY_PERFECT:
            yield _given_away(name, use_case, strength, where)


def _values(use_case: UseCase, labels: Array, place: str) -> Iterator[Finding]:
    binary, are_usable = use_case.task == "binary", usable(use_case.task, labels)
    if np.mean(~are_usable) > WRONG:
        wrong = sorted({float(value) for value in labels[~are_usable]})[:3]
        yield Finding(
            "label-values",
            place,
            f"{np.mean(~are_usable):.0%} of the labels are {'neither 0 nor 1' if binary else 'no finite number'}, such as "
            f"{wrong[0]:g}",
            "Let `label` be 1 for yes and 0 for no" if binary else "Let `label` be null where the outcome is not known",
        )
    elif len(np.unique(labels[are_usable])) < 2:
        yield Finding(
            "one-class",
            place,
            f"every label is {labels[are_usable][0]:g}: there is nothing to learn",
            "Check how `label` is computed, or let `examples` take a longer period or other rows",
        )


def _no_number(name: str, where: Declaration) -> Finding:
    return Finding(
        "input-kind",
        where.use_case("inputs"),
        f"input {name!r} is declared a number, but holds text",
        "Declare it a 'category', or turn it into numbers in `on_demand`",
    )


def _given_away(name: str, use_case: UseCase, strength: float, where: Declaration) -> Finding:
    measure = "an AUC" if use_case.task == "binary" else "a rank correlation with the label"
    return Finding(
        GIVEN_AWAY,
        _origin(name, use_case, where),
        f"input {name!r} gives the label away: alone it has {measure} of {strength:.4f}",
        "Remove it from `inputs`, or compute it from what is known before the outcome. If it is known before, sign why by "
        "`ratchet accept too-good --reason …`",
    )


def _origin(name: str, use_case: UseCase, where: Declaration) -> str:
    """Where an input comes from: the request, a view, or the on-demand function."""
    if name in {*use_case.request_fields(), *use_case.constants}:
        return where.function(use_case.examples)
    lookups = [lookup for lookup in use_case.lookups if name.startswith(f"{lookup.prefix}__")]
    if lookups:
        return where.function(use_case.view(max(lookups, key=lambda one: len(one.prefix)).view).compute)
    return where.function(use_case.on_demand)


def _strength(values: Array, kind: Kind, labels: Floats, task: Task) -> float:
    """How well the values alone predict the label, from 0 to 1: by their order, or by the mean label of each value."""
    if len(labels) < FEWEST:
        return 0.0
    learned, judged = _encoded(values, labels), slice(1, None, 2)
    strengths = [_ordered(learned[judged], labels[judged], task)]
    if kind == "number":
        numbers = values.astype(np.float64)
        known = np.isfinite(numbers)
        strengths.append(_ordered(numbers[known], labels[known], task))
    return max(strengths)


def _encoded(values: Array, labels: Floats) -> Floats:
    """For each row, the mean label of the even rows that have its value, or of all even rows if none has it."""
    codes = pd.factorize(values, use_na_sentinel=False)[0]
    even = slice(0, None, 2)
    sums = np.bincount(codes[even], labels[even], minlength=codes.max() + 1)
    counts = np.bincount(codes[even], minlength=codes.max() + 1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), labels[even].mean())
    return np.asarray(means[codes], dtype=np.float64)


def _ordered(values: Floats, labels: Floats, task: Task) -> float:
    """The area under the ROC curve in its better direction, or the absolute rank correlation."""
    if len(values) < FEWEST or np.ptp(values) == 0 or np.ptp(labels) == 0:
        return 0.0
    ranks = _ranks(values)
    if task == "regression":
        return float(abs(np.corrcoef(ranks, _ranks(labels))[0, 1]))
    ones = int(labels.sum())
    area = (ranks[labels == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(labels) - ones))
    return float(max(area, 1 - area))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: Any = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[codes], dtype=np.float64)
