"""Stored versions of batches, read as the use case declares their tables now."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipeline.batch_changes import are_alike
from ratchet.use_case.contract import UNREADABLE, SourceTable, UseCase

NEWEST = "newest"
_INSTANT = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True)
class Version:
    """An earlier version of a batch, which was in force until an instant."""

    until: datetime
    path: Path
    rows: int


def version_name(until: datetime) -> str:
    """The name of a version that was in force until an instant, without its suffix."""
    return until.astimezone(UTC).strftime(_INSTANT)


def earlier_versions(use_case: UseCase, folder: Path) -> dict[str, list[Version]]:
    """`{table}/{batch}` → the earlier versions kept in a folder, of tables that are declared as then; the first one first."""
    tables = {table.name: table for table in use_case.tables}
    found: dict[str, list[Version]] = defaultdict(list)
    for path in sorted(folder.glob("*/*/*.parquet")):
        table, batch = path.parent.relative_to(folder).parts
        if path.stem != NEWEST and table in tables and is_declared(tables[table], pq.read_schema(path)):
            until = datetime.strptime(path.stem, _INSTANT).replace(tzinfo=UTC)
            found[f"{table}/{batch}"].append(Version(until, path, pq.read_metadata(path).num_rows))
    return found


def is_declared(table: SourceTable, stored: pa.Schema) -> bool:
    """Whether a stored version has the columns that the use case declares now, but for some that were declared since.

    These are missing in all of its rows.
    """
    declared = table.raw_schema
    since = {*table.schema.names} - {*stored.names, *table.key, table.event_time, table.known_at}
    columns = [name for name in declared.names if name not in since]
    alike = [name for name in columns if name != UNREADABLE.name]  # a map's type is stored under other names
    return stored.names == columns and are_alike(stored, declared, alike)


def read_version(table: SourceTable, path: Path) -> pa.Table:
    """The rows of a stored version, so that writing them again gives the same bytes; if it is not declared so, as they are."""
    rows, declared = pq.read_table(path, partitioning=None), table.raw_schema
    if not is_declared(table, rows.schema):
        return rows
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in declared
    ]
    return pa.table(columns, schema=declared.with_metadata(rows.schema.metadata))
