"""Read the batches of the active source into the raw tables, in canonical types.

No rule is applied here. A batch is read again only when its digest, its table's schema or the code that reads it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from feature_pipeline.deliveries import Deliveries
from feature_pipeline.gaps import write_gaps
from ratchet.code.code_digest import code_digest
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.sources.batches import Found, Source, delivered_rows, find, late_rows, loader_code, notes_of
from ratchet.sources.watermark import write_watermark
from ratchet.storage.digests import digest
from ratchet.storage.partitions import Files, update

CODE = code_digest(__name__)


def ingest(run: Run) -> Report:
    """Bring the raw tables up to date with the source's batches. Raises SourceError, and keeps the tables that exist."""
    source, deliveries = Source.open(run), Deliveries.open(run)
    found, code = find(source), (CODE, loader_code(source))
    write_watermark(run.paths, found)
    found = replace(found, batches=deliveries.without_absent(found.batches))
    inputs = {
        unit: digest(code, run.use_case.table(batch.table).schema.to_string()) for unit, batch in found.batches.items()
    }
    contents = {unit: deliveries.content(unit, batch, inputs[unit]) for unit, batch in found.batches.items()}
    wanted = {unit: digest(content, deliveries.in_force_until(unit)) for unit, content in contents.items()}
    deliveries.keep_vanished(found.batches)
    vanished = deliveries.vanished(found.batches)
    wanted |= {unit: digest(until) for unit, until in vanished.items()}

    def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        for unit in stale:
            rows = (
                deliveries.last(unit) if unit in vanished else deliveries.bring(unit, found.batches[unit], inputs[unit])
            )
            yield unit, {unit: rows}

    deliveries.keep_absent(wanted)
    changes = update(run.paths.raw, wanted, compute)
    deliveries.finish(contents)
    write_gaps(run.paths.gaps, found.gaps)
    return _report(run, found, deliveries, changes.rows)


def _report(run: Run, found: Found, deliveries: Deliveries, rows: Mapping[str, int]) -> Report:
    """For each table the rows that its source holds, the rows that were read, notes, the rows that came late, the batches that
    were delivered again with changes, and those that are missing. Also the files that are not read."""
    totals: dict[str, int] = {}
    delivered: dict[str, int] = {}
    notes: dict[str, dict[str, list[str]]] = {}
    late: dict[str, dict[str, int]] = {}
    corrected: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for unit, batch in found.batches.items():
        totals[batch.table] = totals.get(batch.table, 0) + rows[unit]
        path = run.paths.raw / f"{unit}.parquet"
        delivered[batch.table] = delivered.get(batch.table, 0) + delivered_rows(path)
        if noted := notes_of(path):
            notes.setdefault(batch.table, {})[batch.name] = noted
        if came_late := sum(late_rows(path).values()):
            late.setdefault(batch.table, {})[batch.name] = came_late
        if corrections := deliveries.corrections(unit):
            corrected.setdefault(batch.table, {})[batch.name] = corrections
    gaps: dict[str, dict[str, str]] = {}
    for gap in found.gaps:
        gaps.setdefault(gap.table, {})[gap.name] = str(gap.period)
    unread = {each.name: each.reason for each in found.unread}
    return {
        "delivered": delivered,
        "rows": totals,
        "notes": notes,
        "late": late,
        "corrected": corrected,
        "gaps": gaps,
        "unread": unread,
    }
