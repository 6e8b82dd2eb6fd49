"""Compute feature views, requests and labels from accepted rows, by UTC date or month. Only what changed is computed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from feature_pipeline.gaps import read_gaps
from feature_pipeline.source_files import Sources, rows_until, sources_until
from ratchet.code.code_digest import code_digest
from ratchet.core.clock import Period, midnight
from ratchet.core.errors import DataError
from ratchet.features.expressions import CompiledExpression, compile_delivered_view, compile_labels, compile_requests
from ratchet.features.extent import write_extent
from ratchet.features.service import ServiceSpec, request_schema, service_spec
from ratchet.features.source_rows import SourceRows
from ratchet.features.upstream_registration import Register, Registration
from ratchet.features.upstream_sensor import write_upstream_watermark
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.sources.asked import require_asked
from ratchet.storage.arrow import to_array
from ratchet.storage.dated import Dates, computed_together, partitioned
from ratchet.storage.digests import digest, md5
from ratchet.storage.partitions import MANIFEST, Files, by_date, files, update
from ratchet.use_case.columns import EVENT_TIMESTAMP, REQUEST_ID
from ratchet.use_case.contract import UseCase, View

if TYPE_CHECKING:
    import ibis

logger = logging.getLogger(__name__)
CODE = code_digest(__name__)
"""The digest of the code that computes the rows of an expression. The expression itself is identified by its SQL."""
DAY = timedelta(days=1)
STATIC = "static"
"""The unit of a view that reads only reference tables, and therefore has no dates."""


@dataclass(frozen=True)
class Output:
    """A table of the offline store: the derived rows with event_timestamp in `period`, by date and, longer ago, by month.

    `keys` are the key columns of a view. A row with a null key can never be looked up, so it is left out.
    """

    directory: Path
    compiled: CompiledExpression
    period: Period
    order: tuple[str, ...]
    keys: tuple[str, ...] = ()

    @cached_property
    def partitions(self) -> dict[str, Dates]:
        """The partitions by their names, in order."""
        return {each.name: each for each in partitioned([*self.period.dates()])}

    def within(self, first: date, last: date) -> Period:
        """The part of the output's period that falls on the dates `first` to `last`."""
        return Period(max(midnight(first), self.period.start), min(midnight(last + DAY), self.period.end))


def featurize(run: Run) -> Report:
    """Bring views, requests and labels up to date with the accepted rows, as of the feature pipeline.

    Views that another system computes are registered, and not computed. The report says which rows do not have what a missing
    batch would give. Raises StoreError if there are no accepted rows or if they are as of another instant, DataError if the
    store cannot keep the requests or the rows of a view, SourceError if the files of another system cannot be used.
    """
    require_asked(run)
    spec, sources = service_spec(run.use_case), sources_until(run)
    registered = _register(run)
    own = [view for view in run.use_case.views if not view.upstream]
    views = {spec.views[view.name]: _view_output(run, view, spec, sources) for view in own}
    _remove_all_but(run.paths.features / "views", views)
    rows = {name: _bring_up_to_date(run, output, sources) for name, output in views.items()}
    requests, labels = (
        _example_output(run, name, derive)
        for name, derive in (("requests", compile_requests), ("labels", compile_labels))
    )
    rows_of_requests = _bring_up_to_date(run, requests, sources)
    _check_requests(run, rows_of_requests)
    rows_of_labels = _bring_up_to_date(run, labels, sources)
    write_extent(run.paths.features, run.period("features"))
    return {
        "as_of": run.as_of("feature").isoformat(),
        "service": spec.name,
        "fingerprint": spec.fingerprint,
        "views": rows,
        "upstream": {name: found.summary for name, found in registered.items()},
        "requests": rows_of_requests,
        "labels": rows_of_labels,
        "gaps": _gaps(run, {**views, "requests": requests, "labels": labels}),
        "contents": contents_digest(run.paths.features),
    }


def _register(run: Run) -> Mapping[str, Registration]:
    """Register the files of upstream views, and write what they hold, for DVC: a flow runs without the stage `sensors`."""
    registered = Register.open(run).write(run.as_of("feature"))
    write_upstream_watermark(run.paths, {name: found.files for name, found in registered.items()})
    return registered


def _gaps(run: Run, outputs: Mapping[str, Output]) -> dict[str, dict[str, str]]:
    """Table → for each batch that is missing from its sources, the period whose rows do not have what the batch would give."""
    missing = read_gaps(run.paths.gaps)
    found = {
        name: {
            f"{gap.table}/{gap.name}": str(period)
            for gap in missing
            if gap.table in output.compiled.reads and (period := output.compiled.using(gap.period, output.period))
        }
        for name, output in outputs.items()
    }
    return {name: gaps for name, gaps in found.items() if gaps}


def _view_output(run: Run, view: View, spec: ServiceSpec, sources: Sources) -> Output:
    """A view's rows of the period, from the beginning of its first UTC date on, and of earlier dates whose values may still be
    valid."""
    compiled, period = compile_delivered_view(run.use_case, view, run.delivery), run.period("features")
    first = next(period.dates())
    oldest = (period.start - view.max_age).date() if view.max_age else date.min
    first = min(first, max(oldest, _first_date(compiled, sources) or first))
    return Output(
        directory=run.paths.features / "views" / spec.views[view.name],
        compiled=compiled,
        period=Period(midnight(first), period.end),
        order=(*view.keys, EVENT_TIMESTAMP),
        keys=view.keys,
    )


def _first_date(compiled: CompiledExpression, sources: Sources) -> date | None:
    """The earliest date of the rows that the expression reads; None if no row has a date."""
    return min((first for name in compiled.reads if (first := sources[name].first)), default=None)


def _example_output(run: Run, name: str, derive: Callable[[UseCase], CompiledExpression]) -> Output:
    """The part of the examples that belongs to the period."""
    order = (EVENT_TIMESTAMP, REQUEST_ID)
    return Output(run.paths.features / name, derive(run.use_case), run.period("features"), order)


def _bring_up_to_date(run: Run, output: Output, sources: Sources) -> int:
    """Compute the stale units of an output, and return how many rows the output has now."""

    def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        logger.info("%s: computing %d units", output.directory.name, len(stale))
        source_rows = SourceRows.of(run.paths.accepted, run.use_case, run.environment, output.compiled)
        return _static_unit(source_rows, output) if stale == [STATIC] else _dated_units(source_rows, output, stale)

    return sum(update(output.directory, _wanted(run, output, sources), compute).rows.values())


def _wanted(run: Run, output: Output, sources: Sources) -> dict[str, str]:
    """Unit → digest of everything that its rows are computed from."""
    compiled = output.compiled
    read = {name: sources[name] for name in compiled.reads}
    if all(run.use_case.table(name).is_reference for name in read):
        return {STATIC: digest(CODE, compiled.sql, output.order, {name: dated.parts for name, dated in read.items()})}
    wanted = {}
    for each in output.partitions.values():
        first, last = each.first, each.last
        inputs = {name: dated.within(*compiled.source_dates(first, last)) for name, dated in read.items()}
        wanted[each.name] = digest(CODE, compiled.sql, output.order, str(output.within(first, last)), inputs)
    return wanted


def _static_unit(source_rows: SourceRows, output: Output) -> Iterator[tuple[str, Files]]:
    source_rows.bind(None, None)
    yield STATIC, {f"{STATIC}/part": _rows(source_rows, output, output.compiled.expression)}


def _dated_units(source_rows: SourceRows, output: Output, stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
    expression = output.compiled.expression
    timestamp = expression[EVENT_TIMESTAMP]
    for together in computed_together(output.partitions[unit] for unit in stale):
        first, last = together[0].first, together[-1].last
        source_rows.bind(*output.compiled.source_dates(first, last), prepare=partial(rows_until, output.period.end))
        period = output.within(first, last)
        rows = _rows(source_rows, output, expression.filter(timestamp >= period.start, timestamp < period.end))
        found = by_date(rows, EVENT_TIMESTAMP)
        for each in together:
            of_dates = [found[day] for day in each.all if day in found]
            yield each.name, {f"{each.folder}/part": pa.concat_tables(of_dates)} if of_dates else {}


def _rows(source_rows: SourceRows, output: Output, expression: ibis.Table) -> pa.Table:
    present = [expression[name].notnull() for name in (*output.keys, EVENT_TIMESTAMP)]
    rows = source_rows.connection.to_pyarrow(expression.filter(*present).order_by(output.order))
    if output.keys:
        _check_view(rows, output)
    return rows


def _check_view(rows: pa.Table, output: Output) -> None:
    """Raise DataError unless each key and timestamp has one row, and an online store can keep each timestamp."""
    subject = f"view {output.directory.name}"
    _check_unique(rows, output.order, subject)
    ticks = pc.cast(rows[EVENT_TIMESTAMP], pa.int64()).to_numpy()
    if (ticks % 1_000_000).any() or (ticks <= 0).any():
        raise DataError(
            "has an event_timestamp that is no whole second after 1970",
            subject=subject,
            remedy="Truncate it: online stores keep no fractions of a second",
        )


def _check_requests(run: Run, found: int) -> None:
    directory = run.paths.features / "requests"
    if not found:
        raise DataError(
            f"no accepted row is a request of {run.period('features')}",
            subject=str(run.paths.accepted),
            remedy="Deliver rows of that period, or set `windows.start` in params.yaml and the as-of to when there are rows",
        )
    requests = pyarrow.dataset.dataset(files(directory))
    _check_unique(requests.to_table([REQUEST_ID]), [REQUEST_ID], str(directory))
    for field in request_schema(run.use_case):
        if pa.types.is_integer(field.type):
            _check_exact(requests.to_table([field.name])[field.name], field.name, str(directory))


def _check_exact(column: pa.ChunkedArray, name: str, subject: str) -> None:
    """Raise DataError for an integer that is not exact as float64, which the model and the log use.

    A rounded key would read the features of a different key.
    """
    try:
        to_array(column, exact=True)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"request field {name} holds a number too long to be exact ({error})",
            subject=subject,
            remedy="Declare it as a string: such a long number is an identifier, not an amount",
        ) from error


def _check_unique(rows: pa.Table, columns: Sequence[str], subject: str) -> None:
    counts = rows.group_by(list(columns)).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))
    if repeated.num_rows:
        raise DataError(
            f"{repeated.num_rows} keys are not unique, such as {repeated.slice(0, 1).to_pylist()[0]}",
            subject=subject,
            remedy="Give it one row per key",
        )


def contents_digest(folder: Path) -> str:
    """A digest that changes with any table. The report holds it, so later stages of dvc.yaml depend only on the report."""
    return digest({path.relative_to(folder).as_posix(): md5(path) for path in folder.rglob(MANIFEST)})


def _remove_all_but(directory: Path, wanted: Iterable[str]) -> None:
    """Delete the views of earlier definitions."""
    for path in directory.iterdir() if directory.exists() else ():
        if path.name not in set(wanted):
            shutil.rmtree(path)
