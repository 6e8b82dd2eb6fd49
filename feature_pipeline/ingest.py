"""Read the batches of the active source into the raw tables, in canonical types.

No rule is applied here. A batch is read again only when its digest, its table's schema or the code that reads it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ratchet.code.code_digest import code_digest
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.sources.batches import Found, Source, delivered_rows, find, loader_code, notes_of, read
from ratchet.sources.watermark import write_watermark
from ratchet.storage.digests import digest
from ratchet.storage.partitions import Files, update

CODE = code_digest(__name__)


def ingest(run: Run) -> Report:
    """Bring the raw tables up to date with the source's batches. Raises SourceError, and keeps the tables that exist."""
    source = Source.open(run)
    found, code = find(source), (CODE, loader_code(source))
    write_watermark(run.paths, found)
    wanted = {
        unit: digest(code, run.use_case.table(batch.table).schema.to_string(), batch.digest)
        for unit, batch in found.batches.items()
    }

    def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        for unit in stale:
            batch = found.batches[unit]
            yield unit, {unit: read(run.use_case, batch)}

    changes = update(run.paths.raw, wanted, compute)
    return _report(run, found, changes.rows)


def _report(run: Run, found: Found, rows: Mapping[str, int]) -> Report:
    """For each table the rows that its source holds, the rows that were read, notes, and the batches that are missing. Also the
    files that are not read."""
    totals: dict[str, int] = {}
    delivered: dict[str, int] = {}
    notes: dict[str, dict[str, list[str]]] = {}
    for unit, batch in found.batches.items():
        totals[batch.table] = totals.get(batch.table, 0) + rows[unit]
        path = run.paths.raw / f"{unit}.parquet"
        delivered[batch.table] = delivered.get(batch.table, 0) + delivered_rows(path)
        if noted := notes_of(path):
            notes.setdefault(batch.table, {})[batch.name] = noted
    gaps: dict[str, dict[str, str]] = {}
    for gap in found.gaps:
        gaps.setdefault(gap.table, {})[gap.name] = str(gap.period)
    unread = {each.name: each.reason for each in found.unread}
    return {"delivered": delivered, "rows": totals, "notes": notes, "gaps": gaps, "unread": unread}
