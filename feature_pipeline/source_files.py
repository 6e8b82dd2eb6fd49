"""What features are computed from: the accepted rows that happened up to the run's instant.

Whether there are later ones depends on what was delivered since, and nothing is computed from them. So going back gives the
same features, and the same record of what they were computed from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ratchet.core.errors import StoreError
from ratchet.project.run import Run
from ratchet.storage.date_folders import folder_date, folder_dates
from ratchet.storage.dated import Dated, Part
from ratchet.storage.partitions import read_manifest, rows_digest
from ratchet.use_case.contract import SourceTable

if TYPE_CHECKING:
    import ibis

Sources = Mapping[str, Dated]
"""Table → its accepted files by date, with a digest of each one's rows up to the run's instant."""


def sources_until(run: Run) -> Sources:
    """Raises StoreError if no rows were accepted."""
    manifest = read_manifest(run.paths.accepted)
    if not manifest:
        raise StoreError("holds no tables", subject=str(run.paths.accepted), remedy="Run `ratchet stage validate`")
    found: dict[str, list[Part]] = {table.name: [] for table in run.use_case.tables}
    for unit in manifest.values():
        for path, content in _contents_until(run, unit["files"]):
            table, _, name = path.partition("/")
            days = [str(day) for day in folder_dates(name)]
            found[table] += [(day, name, content) for day in days or [""]]
    return {table: Dated.of(parts) for table, parts in found.items()}


def _contents_until(run: Run, contents: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The accepted files of a batch that have rows up to the run's instant, with digests of these rows."""
    end = run.as_of("feature")
    last = end.astimezone(UTC).date()
    for path, content in contents.items():
        table, _, name = path.partition("/")
        day = folder_date(name)
        if day is None or day < last:
            yield path, content
        elif day == last:
            rows = pq.read_table(run.paths.accepted / path, partitioning=None)
            rows = rows.filter(pc.less_equal(rows[run.use_case.table(table).event_time], end))
            if rows.num_rows:
                yield path, rows_digest(rows)


def rows_until(end: datetime, table: SourceTable, rows: ibis.Table) -> ibis.Table:
    """The rows of a table that happened up to an instant; all of a reference table."""
    return rows.filter(rows[table.event_time] <= end) if table.event_time else rows
