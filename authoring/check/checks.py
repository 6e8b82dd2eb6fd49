"""All checks of a use case, in order. A new check is a function of another module that yields findings, called from here.

A mistake that would hide others is reported alone. So the declaration is checked first, then the rows, then everything that
the use case computes from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from authoring.check.baseline import check_baseline
from authoring.check.declaration_checks import check_declaration, check_functions, failure
from authoring.check.features import Features, FunctionError, compute
from authoring.check.finding import Finding
from authoring.check.gate_feasibility import check_columns, check_windows
from authoring.check.labels import GIVEN_AWAY, check_inputs, check_labels
from authoring.check.leaks import check_leaks
from authoring.check.pending import check_pending
from authoring.check.row_independence import check_predictions, check_rows
from authoring.check.sample import Sample, take_sample
from authoring.check.schedule_checks import check_schedule
from authoring.check.source_lines import Declaration
from authoring.check.too_good import check_too_good, is_accepted
from authoring.check.unreadable import check_unreadable
from authoring.check.upstream import check_upstream
from authoring.check.views import check_keys, check_usable, check_views
from ratchet.core.errors import RatchetError
from ratchet.project.run import Run
from ratchet.sources.batches import Source
from ratchet.use_case.batch import Unread
from ratchet.use_case.columns import LABEL_COLUMNS, REQUEST_ID
from ratchet.use_case.contract import Array, Columns, UseCase


@dataclass(frozen=True)
class Checkup:
    """The findings, how much was checked, which entries of the source are not read, and which views another system computes."""

    findings: list[Finding]
    rows: int = 0
    batches: int = 0
    unread: Sequence[Unread] = ()
    upstream: Sequence[str] = ()

    @classmethod
    def of(cls, sample: Sample, findings: Iterable[Finding]) -> Checkup:
        upstream = [view.name for view in sample.run.use_case.views if view.upstream]
        return cls([*findings], sample.rows, sample.batches, sample.unread, upstream)


def check(run: Run) -> list[Finding]:
    """The mistakes of the active use case; an empty list if there are none."""
    return checkup(run).findings


def checkup(run: Run) -> Checkup:
    """Check the active use case on the latest rows of its source."""
    where = Declaration(run)
    findings = list(check_declaration(run, where)) or list(check_functions(run.use_case, where))
    findings = findings or [*check_schedule(run, where), *check_upstream(run, where)]
    if findings:
        return Checkup(findings)
    try:
        sample = take_sample(run)
    except RatchetError as error:
        is_loaded = error.subject.startswith("batch ")
        return Checkup(
            [
                Finding.of(
                    "source",
                    where.function(Source.open(run).loader) if is_loaded else where.setting("source"),
                    error,
                )
            ]
        )
    except Exception as error:  # noqa: BLE001 - a use case's loader may raise anything
        return Checkup([failure("the loader", Source.open(run).loader, error, where)])
    unusable = list(check_usable(sample, where))
    if unusable:
        return Checkup.of(sample, unusable)
    keys = list(check_keys(sample, where))
    rows = [*keys, *check_pending(sample, where), *check_unreadable(sample, where)]
    derived = (
        () if keys else _derived(sample, where, is_right=not rows)
    )  # what follows from rows is joined by their keys
    return Checkup.of(sample, [*rows, *derived])


def _derived(sample: Sample, where: Declaration, *, is_right: bool) -> Iterator[Finding]:
    """Check everything that the use case computes from the rows. `is_right`: no mistake was found in the rows themselves."""
    try:
        features = compute(sample)
    except FunctionError as error:
        yield failure(error.subject, error.function, error.__cause__ or error, where)
        return
    found = [*check_labels(features, where), *check_views(features, where)]
    if len(features.rows["label"]):
        found += check_leaks(features, where)
        found += _completed(features, where, is_right=is_right and not found)
    yield from found


def _completed(features: Features, where: Declaration, *, is_right: bool) -> Iterator[Finding]:
    """Checks that need the on-demand columns. The baseline depends on all earlier checks, and is checked only if these pass."""
    run, rows = features.sample.run, features.rows
    use_case = run.use_case
    asked = {name: column for name, column in rows.items() if name not in {REQUEST_ID, *LABEL_COLUMNS}}
    try:
        columns = use_case.complete(asked)
    except Exception as error:  # noqa: BLE001 - it may raise anything
        yield _on_demand(features, error, where)
        return
    unusable = [*check_rows(use_case, asked, columns, where), *check_columns(run, columns, where)]
    yield from unusable
    if not unusable:
        labelled = {**columns, **{name: rows[name] for name in LABEL_COLUMNS}}
        yield from check_predictions(use_case, columns, _like_predictions(use_case, rows["label"]), where)
        yield from _given_away(run, labelled, where)
        if is_right:
            yield from check_baseline(use_case, labelled, features.every, where)
        yield from check_windows(features, labelled, where)


def _given_away(run: Run, columns: Columns, where: Declaration) -> Iterator[Finding]:
    """Inputs that give the label away, each alone or all together, unless a person has signed a reason."""
    found = [*check_inputs(run.use_case, columns, where)]
    if all(finding.what == GIVEN_AWAY for finding in found) and is_accepted(run):
        return
    yield from found or check_too_good(run, columns, where)


def _like_predictions(use_case: UseCase, labels: Array) -> Array:
    """Numbers like a model's predictions: a probability is rarely 0 or 1."""
    return 0.25 + labels / 2 if use_case.task == "binary" else labels


def _on_demand(features: Features, error: Exception, where: Declaration) -> Finding:
    use_case = features.sample.run.use_case
    if isinstance(error, KeyError) and set(error.args) & set(LABEL_COLUMNS):
        return Finding(
            "label-in-features",
            where.raised(error) or where.function(use_case.on_demand),
            f"`on_demand` reads {error.args[0]!r}, which is not known when a prediction is requested",
            "Compute its columns from the request and its features only",
        )
    return failure("`on_demand`", use_case.on_demand, error, where)
