"""Read the batches of the active source into the raw tables, in canonical types.

No rule is applied here. A batch is read again only when its digest, its table's schema or the code that reads it changes, or if
it could not be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from feature_pipeline.deliveries import Deliveries
from feature_pipeline.gaps import write_gaps
from ratchet.code.code_digest import code_digest
from ratchet.core.errors import SourceError, UnavailableError
from ratchet.core.text import one_line
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.sources.batches import Found, Source, delivered_rows, find, late_rows, loader_code, notes_of
from ratchet.sources.watermark import write_watermark
from ratchet.storage.digests import digest
from ratchet.storage.partitions import Files, Provisional, update
from ratchet.use_case.batch import Batch, Gap

CODE = code_digest(__name__)
MOST_CHARACTERS = 4000
"""Of the reason why a batch was rejected. It may name many columns before it says what to do."""
_Value = TypeVar("_Value")


def ingest(run: Run) -> Report:
    """Bring the raw tables up to date with the source's batches.

    A batch that cannot be read is rejected, and the rest goes on: what was delivered under its name before holds until it is
    delivered again; if that is nothing, it is a gap. Raises SourceError, and keeps the tables that exist, if the source cannot
    be reached, if no batch of a table could be read, or if the code no longer reads what it read before.
    """
    source, deliveries = Source.open(run), Deliveries.open(run)
    found, code = find(source), (CODE, loader_code(source))
    write_watermark(run.paths, found)
    there, found = found.batches, replace(found, batches=deliveries.without_absent(found.batches))
    inputs = {
        unit: digest(code, run.use_case.table(batch.table).schema.to_string()) for unit, batch in found.batches.items()
    }
    contents = {unit: deliveries.content(unit, batch, inputs[unit]) for unit, batch in found.batches.items()}
    wanted = {unit: digest(content, deliveries.in_force_until(unit)) for unit, content in contents.items()}
    deliveries.keep_vanished(there)
    wanted |= {unit: digest(until) for unit, until in deliveries.vanished(found.batches).items()}
    deliveries.keep_absent(wanted)
    reading = _Reading(found, inputs, deliveries)
    rows = update(run.paths.raw, wanted, reading.compute).rows
    rejected = reading.rejected
    read = {unit: content for unit, content in contents.items() if unit not in rejected}
    deliveries.finish(read, {unit: found.batches[unit].digest for unit in rejected})
    gaps = [*found.gaps, *(_gap(run, found.batches[unit]) for unit in reading.missing)]
    write_gaps(run.paths.gaps, gaps)
    return {
        **_of_batches(run, deliveries, rows),
        "gaps": _by_table({f"{gap.table}/{gap.name}": str(gap.period) for gap in gaps}),
        "rejected": _by_table({unit: _reason(run, error) for unit, error in rejected.items()}),
        "unread": {each.name: each.reason for each in found.unread},
    }


@dataclass(frozen=True)
class _Reading:
    """Reads batches; `rejected` collects the error of each that cannot be read, and `missing` those of which nothing holds."""

    found: Found
    inputs: Mapping[str, str]
    deliveries: Deliveries
    rejected: dict[str, SourceError] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def compute(self, stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        for unit in stale:
            batch = self.found.batches.get(unit)
            yield unit, self._read(unit, batch) if batch else {unit: self.deliveries.last(unit)}
        there = {batch.table for unit, batch in self.found.batches.items() if unit not in self.missing}
        for unit in self.missing:
            if self.found.batches[unit].table not in there:
                raise self.rejected[unit]

    def _read(self, unit: str, batch: Batch) -> Files:
        try:
            return {unit: self.deliveries.bring(unit, batch, self.inputs[unit])}
        except SourceError as error:
            if isinstance(error, UnavailableError) or self.deliveries.was_read(unit, batch):
                raise
            self.rejected[unit] = error
        earlier = self.deliveries.earlier(unit)
        if earlier is None:
            self.missing.append(unit)
        return Provisional({} if earlier is None else {unit: earlier})


def _gap(run: Run, batch: Batch) -> Gap:
    """The gap that a batch leaves; if its period is not known, any row may be missing."""
    return Gap(batch.table, batch.name, batch.period or run.period("all"))


def _reason(run: Run, error: SourceError) -> str:
    """Why a batch was rejected, the same in every checkout."""
    return one_line(str(error).replace(f"{run.root}/", ""), MOST_CHARACTERS)


def _of_batches(run: Run, deliveries: Deliveries, rows: Mapping[str, int]) -> Report:
    """For each table the rows that its source holds, and the rows that were read; by batch notes, the rows that came late, and
    how many were changed, removed, added and moved to it when it was delivered again, or removed when it vanished."""
    paths = {unit: run.paths.raw / f"{unit}.parquet" for unit in rows}
    late = {unit: late_rows(path) for unit, path in paths.items()}
    return {
        "delivered": _totals({unit: delivered_rows(path) for unit, path in paths.items()}),
        "rows": _totals(rows),
        "notes": _by_table({unit: notes_of(path) for unit, path in paths.items()}),
        "late": _by_table(late),
        "corrected": _by_table({unit: deliveries.corrections(unit) for unit in deliveries.units(rows)}),
    }


def _totals(counts: Mapping[str, int]) -> dict[str, int]:
    """Table → the sum of its batches."""
    return {table: sum(found.values()) for table, found in _grouped(counts).items()}


def _by_table(values: Mapping[str, _Value]) -> dict[str, dict[str, _Value]]:
    """Table → batch → its value, where there is one."""
    return _grouped({unit: value for unit, value in values.items() if value})


def _grouped(values: Mapping[str, _Value]) -> dict[str, dict[str, _Value]]:
    found: dict[str, dict[str, _Value]] = {}
    for unit, value in values.items():
        table, _, name = unit.partition("/")
        found.setdefault(table, {})[name] = value
    return found
