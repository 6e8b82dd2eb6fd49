"""What a person should know about a new use case: what was left out, and what may be wrong with the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from authoring.init import explained_variance
from authoring.init.baseline import Baseline
from authoring.init.delay import delay_of
from authoring.init.explained_variance import Floats
from authoring.init.periods import is_far
from authoring.init.profile import Column, Profile, misfit
from authoring.init.questions import Decided
from ratchet.core.text import count_of
from ratchet.sources.csv_parsing import parses, present

SUSPICIOUS = 0.98
"""A single column that explains more of a label than this was probably not known before it."""
_AMOUNT = r"^[^\w/:-]*[+-]?\d[\d.,' ]*[^\w/:-]*$"
"""1,5 or € 5 or 1'000 or 5%, but neither a date nor a word."""


def notes(
    profile: Profile, decided: Decided, fields: Sequence[Column], kept: Sequence[Column], label: Floats
) -> Iterator[str]:
    """Notes on the file and on the decisions, one line each."""
    used = {decided.time, *(column.name for column in (*fields, *kept))}
    left_out = [column.name for column in profile.columns if column.name not in {*used, *decided.late}]
    if left_out:
        yield f"left out: {', '.join(left_out)} (empty, one value only, another time, or too many different values)"
    for column in filter(partial(_is_almost_number, profile), profile.columns):
        found = misfit(profile, column, "number")
        yield f"{column.name} is text, because of {found}; a number is digits with a point, or nothing where it lacks"
    yield from _unlabelled(profile, decided, label)
    repeated = profile.repeated(decided.key)
    if repeated:
        key = ", ".join(decided.key)
        yield f"{count_of(repeated, 'row')} with the key {key} of another row, or without one: quarantined"
    if not decided.scattered_by:
        yield f"taken as known at {decided.time}: {', '.join(column.name for column in fields)}; name by --late what is not"
    for column in filter(partial(_says_it_all, profile, label), fields):
        yield f"{column.name} nearly decides {decided.label.name}: is it known before? If not, --late {column.name}"


def _unlabelled(profile: Profile, decided: Decided, label: Floats) -> Iterator[str]:
    """Notes on rows without a label, and on rows without the timestamp when their label was known."""
    waiting, name, again = (
        "scored as requests without a label",
        decided.label.name,
        "deliver the file again under its name",
    )
    unknown = np.isnan(label)
    if unknown.any():
        yield f"{count_of(int(unknown.sum()), 'row')} without {name}: {waiting}; {again} once it is known"
    if decided.known_after:
        return
    undated = ~unknown & profile.given(decided.known_at).is_null().to_numpy()
    if undated.any():
        row, nobody = count_of(int(undated.sum()), "row"), f"nothing says from when that {name} was known"
        yield f"{row} with {name}, but without {decided.known_at}: {waiting}, since {nobody}; {again} once it does"


def impossible(columns: Sequence[Column]) -> Iterator[str]:
    """A line for each column with values that later steps cannot use: infinite numbers, and times of other centuries."""
    for column in columns:
        if column.impossible:
            yield f"{column.name} is {column.why_impossible} in {count_of(column.impossible, 'row')}: quarantined"


def outliers(profile: Profile, decided: Decided) -> Iterator[str]:
    """A line for times and delays that are far from those of all other rows, and are therefore ignored."""
    if decided.scattered_by:
        return
    asked = profile.values(decided.time).to_numpy()
    far = asked[is_far(asked)]
    if len(far):
        first = far[0].astype("datetime64[D]")
        yield f"{decided.time} is far from all others in {count_of(len(far), 'row')}, such as {first}: in no window"
    delay = delay_of(profile, decided)
    if delay.exceeded:
        row, place = count_of(delay.exceeded, "row"), f"`delay={delay.text!r}`"
        yield f"{decided.known_at} is far more than {delay.text} later than {decided.time} in {row}: not in {place}"


def weak_baseline(name: str, decided: Decided, found: Baseline) -> Iterator[str]:
    """A line if the baseline would not beat one value for all rows."""
    if found.is_chance:
        label, place = decided.label.name, f"`baseline=` of use_cases/{name}/__init__.py"
        remedy = f"group by an input that {label} depends on, such as bands of a number, in {place}"
        refused = (
            "so that the gate would refuse the baseline, and a candidate serves only if it beats one value for all rows"
        )
        grouped = f"the baseline groups by {' and '.join(found.by)}, and that says no more of {label} than chance"
        ungrouped = f"no input that could be grouped by says more of {label} than chance"
        yield f"{grouped if found.by else ungrouped}, {refused}: {remedy}"


def _is_almost_number(profile: Profile, column: Column) -> bool:
    """Whether most values of a text column are amounts, and the column is not text because it holds codes."""
    given = present(profile.text[column.name])
    if column.kind != "text" or parses(given, pa.float64()):
        return False
    return bool(pc.mean(pc.match_substring_regex(given, _AMOUNT)).as_py() > 0.5)


def _says_it_all(profile: Profile, label: Floats, column: Column) -> bool:
    if column.is_number:
        return explained_variance.correlation(profile.numbers(column.name), label) > SUSPICIOUS
    there = ~np.isnan(label)
    split = explained_variance.codes(profile.text[column.name].to_numpy()[there])
    return explained_variance.explained(split, label[there]) > SUSPICIOUS
