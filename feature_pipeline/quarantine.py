"""Find the rows of a batch that may not be used, with every reason for each row.

A row with a value that could not be read is quarantined for that alone. Other rows are quarantined if they have no key or event
time, or if they break a rule of the use case. Of the remaining rows with the same key, the first is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_pipeline.expectations import failing_rows, rules_digest
from ratchet.project.run import Run
from ratchet.sources import unreadable
from ratchet.storage.digests import digest
from ratchet.storage.duckdb import connect, literal, names
from ratchet.use_case.contract import ROW_ID, UNREADABLE, SourceTable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DUPLICATE_KEY = "duplicate_key"
_NULL_KEY = "null_key"
_NULL_EVENT_TIME = "null_event_time"
_REASONS = pa.field("reasons", pa.list_(pa.string()))


@dataclass(frozen=True)
class Quarantine:
    """Checks the rows of one table. It reads the raw rows and, once, the accepted keys of earlier batches."""

    run: Run
    table: SourceTable
    _known: set[str] = field(default_factory=set, init=False)

    @cached_property
    def digest(self) -> str:
        """A digest that changes with any requirement for a row."""
        table = self.table
        return digest(table.delivered_schema.to_string(), table.key, table.event_time, rules_digest(self.table.rules))

    def rejected(self, batch: str, earlier: Sequence[str]) -> pa.Table:
        """The rows to quarantine, in delivered order: raw schema plus `reasons`. Raises DataError, as `failing_rows` does."""
        raw = read_rows(self._path(self.run.paths.raw, batch))
        rows = unreadable.readable(raw)
        reasons = _unreadable(raw) | self._broken(rows, batch)
        reasons |= {row_id: [DUPLICATE_KEY] for row_id in self._repeated(leave_out(rows, list(reasons)), earlier)}
        rejected = raw.filter(_among(raw, list(reasons)))
        column = [reasons[row_id] for row_id in rejected[ROW_ID].to_pylist()]
        return rejected.append_column(_REASONS, pa.array(column, _REASONS.type))

    def _broken(self, rows: pa.Table, batch: str) -> dict[str, list[str]]:
        """Row id → every reason that lies in the row itself, whatever other rows hold."""
        if not rows.num_rows:
            return {}
        instants = (self.table.event_time,) if self.table.event_time else ()
        found = {_NULL_KEY: _without(rows, self.table.key), _NULL_EVENT_TIME: _without(rows, instants)}
        found |= failing_rows(self.table.rules, rows, f"{self.table.name}/{batch}")
        reasons: dict[str, list[str]] = {}
        for reason, row_ids in found.items():
            for row_id in row_ids:
                reasons.setdefault(row_id, []).append(reason)
        return reasons

    def _repeated(self, rows: pa.Table, earlier: Sequence[str]) -> list[str]:
        """Ids of the rows whose key came before: in this batch, or accepted from an earlier one."""
        self._learn([batch for batch in earlier if batch not in self._known])
        self._connection.register("here", rows)
        keys = names(self.table.key)
        again = self._connection.sql(
            f"""
            SELECT {ROW_ID} FROM here QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {ROW_ID}) > 1
            UNION
            SELECT {ROW_ID} FROM here SEMI JOIN (SELECT * FROM accepted SEMI JOIN here USING ({keys})) USING ({keys})
            """
        )
        return [row_id for (row_id,) in again.fetchall()]

    def _learn(self, batches: Sequence[str]) -> None:
        """Add the accepted keys of these batches to the known keys."""
        if not batches:
            return
        for name, folder in (("raw", self.run.paths.raw), ("rejected", self.run.paths.quarantine)):
            paths = [literal(str(self._path(folder, batch))) for batch in batches]
            self._connection.read_parquet(paths, hive_partitioning=False).create_view(name, replace=True)
        keys = names(self.table.key)
        self._connection.execute(f"INSERT INTO accepted SELECT {keys} FROM raw ANTI JOIN rejected USING ({ROW_ID})")
        self._known.update(batches)

    @cached_property
    def _connection(self) -> DuckDBPyConnection:
        """A database with an empty table of the accepted keys."""
        connection: DuckDBPyConnection = connect(self.run.environment).con
        connection.register("here", self.table.delivered_schema.empty_table())
        return connection.execute(f"CREATE TABLE accepted AS SELECT {names(self.table.key)} FROM here")

    def _path(self, folder: Path, batch: str) -> Path:
        return folder / self.table.name / f"{batch}.parquet"


def read_rows(path: Path) -> pa.Table:
    """The rows of a raw or quarantined batch, without the metadata of its file."""
    return pq.read_table(path, partitioning=None).replace_schema_metadata(None)


def leave_out(rows: pa.Table, row_ids: Sequence[str]) -> pa.Table:
    """All rows except those with the given ids, in order."""
    return rows.filter(pc.invert(_among(rows, row_ids)))


def _unreadable(raw: pa.Table) -> dict[str, list[str]]:
    """Row id → a reason for each of its columns that could not be read."""
    rows = raw.filter(pc.is_valid(raw[UNREADABLE.name]))
    names = (dict(texts) for texts in rows[UNREADABLE.name].to_pylist())
    return {
        row_id: [f"unreadable_{name}" for name in each]
        for row_id, each in zip(rows[ROW_ID].to_pylist(), names, strict=True)
    }


def _among(rows: pa.Table, row_ids: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(rows[ROW_ID], value_set=pa.array(row_ids, pa.string()))


def _without(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """Ids of the rows that lack a value in any of the columns."""
    lacking = [rows.filter(pc.is_null(rows[column], nan_is_null=True))[ROW_ID].to_pylist() for column in columns]
    return list(dict.fromkeys(row_id for row_ids in lacking for row_id in row_ids))
