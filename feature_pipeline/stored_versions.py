"""Stored versions of batches, read as the use case declares their tables now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
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


@dataclass(frozen=True)
class StoredVersions:
    """The versions of batches that are kept in a folder, by their units (`{table}/{batch}`)."""

    use_case: UseCase
    folder: Path

    @cached_property
    def earlier(self) -> Mapping[str, list[Version]]:
        """The earlier versions of each batch, of tables that are declared as then; the first one first."""
        tables = {table.name: table for table in self.use_case.tables}
        found: dict[str, list[Version]] = defaultdict(list)
        for path in sorted(self.folder.glob("*/*/*.parquet")):
            table, batch = path.parent.relative_to(self.folder).parts
            if path.stem != NEWEST and table in tables and _is_declared(tables[table], pq.read_schema(path)):
                until = datetime.strptime(path.stem, _INSTANT).replace(tzinfo=UTC)
                found[f"{table}/{batch}"].append(Version(until, path, pq.read_metadata(path).num_rows))
        return dict(found)

    def look_again(self) -> None:
        """After one more version was written."""
        self.__dict__.pop("earlier", None)

    def file(self, unit: str, version: str) -> Path:
        return self.folder / unit / f"{version}.parquet"

    def is_declared(self, unit: str, stored: pa.Schema) -> bool:
        """Whether what is stored has the columns that the batch's table declares now, but for some that were declared since.

        These are missing in all of its rows.
        """
        return _is_declared(self._table(unit), stored)

    def read(self, unit: str, path: Path) -> pa.Table:
        """The rows of a stored version, so that writing them again gives the same bytes; if it is not declared so, as they
        are."""
        return _read(self._table(unit), path)

    def _table(self, unit: str) -> SourceTable:
        return self.use_case.table(unit.partition("/")[0])


def _is_declared(table: SourceTable, stored: pa.Schema) -> bool:
    declared = table.raw_schema
    since = {*table.schema.names} - {*stored.names, *table.key, table.event_time, table.known_at}
    columns = [name for name in declared.names if name not in since]
    alike = [name for name in columns if name != UNREADABLE.name]  # a map's type is stored under other names
    return stored.names == columns and are_alike(stored, declared, alike)


def _read(table: SourceTable, path: Path) -> pa.Table:
    rows, declared = pq.read_table(path, partitioning=None), table.raw_schema
    if not _is_declared(table, rows.schema):
        return rows
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in declared
    ]
    return pa.table(columns, schema=declared.with_metadata(rows.schema.metadata))
