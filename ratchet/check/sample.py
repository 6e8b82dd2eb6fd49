"""A bounded sample of a source's rows: the latest of each table, so that dates have their neighbours.

Rules are not asked, for their library alone takes longer to start than a check may. What they would mostly reject is left
out all the same: rows without key or event time, few repeated ones, and few that were known before they happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.accepted import Accepted, read_by
from ratchet.asof_join import Query, names
from ratchet.clock import midnight
from ratchet.deliveries import deliver, read
from ratchet.derivation import Derivation
from ratchet.project import Project
from ratchet.tables import connect
from ratchet.unreadable import readable
from ratchet.use_case import ROW_ID, Delivery, SourceTable

if TYPE_CHECKING:
    import ibis
    from ibis.backends.duckdb import Backend

ROWS = 60_000
"""Of a table at most, unless its labels need more time to show; reference tables are read whole."""
DIRT = 0.01
"""The share of rows below which a mistake is one of the rows, not of the use case."""
RULED_OUT = 0.1
"""The same, where a rule quarantines such rows."""


@dataclass(frozen=True)
class Repeated:
    """How many rows have the key of another one that says something else, and such a key."""

    rows: int
    share: float
    example: Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """Table → rows in its stored schema; how many were read, of how many deliveries, and whether these were all."""

    project: Project
    tables: Mapping[str, pa.Table]
    repeated: Mapping[str, Repeated]
    rows: int
    deliveries: int

    @cached_property
    def connection(self) -> Backend:
        """A DuckDB that holds the sample."""
        connection = connect(self.project.stores)
        for name, rows in self.tables.items():
            connection.con.register("delivered", rows)
            connection.raw_sql(f'CREATE TABLE "{_stored(name)}" AS SELECT * FROM delivered')
            connection.con.unregister("delivered")
        return connection

    @property
    def last(self) -> datetime:
        """The latest instant that a row is about."""
        tables = (table for table in self.project.use_case.tables if table.event_time)
        found = [pc.max(self.tables[table.name][table.event_time]).as_py() for table in tables]
        return max((instant for instant in found if instant), default=self.project.period("all").end)

    def opened(self, _project: Project, derivation: Derivation) -> Accepted:
        """The sample in place of the accepted rows."""
        return Accepted(self.connection, read_by(self.project.use_case, derivation), self._rows)

    def _rows(self, table: SourceTable, first: date | None, last: date | None) -> ibis.Table:
        rows = self.connection.table(_stored(table.name))
        if table.event_time and first:
            rows = rows.filter(rows[table.event_time] >= midnight(first))
        if table.event_time and last:
            rows = rows.filter(rows[table.event_time] < midnight(last + timedelta(days=1)))
        return rows


def take(project: Project) -> Sample:
    """Read the latest deliveries of the active source, up to ROWS rows of a table. Raises SourceError."""
    found = deliver(project)
    tables, repeated, counts = {}, {}, []
    for table in project.use_case.tables:
        own = [delivery for delivery in found.values() if delivery.table == table.name]
        rows, count = _latest(project, table, own)
        repeated[table.name] = _repeated(project, table, rows)
        tables[table.name] = _clean(project, table, rows, repeated[table.name].share)
        counts.append(count)
    return Sample(project, tables, repeated, rows=sum(counts), deliveries=len(found))


def _latest(project: Project, table: SourceTable, deliveries: Sequence[Delivery]) -> tuple[pa.Table, int]:
    """The usable rows of the last deliveries, as many as it takes, and how many were read for them."""
    parts, count = [], 0
    for delivery in reversed(deliveries):
        raw = read(project.use_case, delivery).replace_schema_metadata(None)
        rows, count = readable(raw), count + raw.num_rows
        parts.append(_usable(project, table, rows))
        if table.event_time and _needed(project, table, pa.concat_tables(parts)) < sum(map(len, parts)):
            break
    found = pa.concat_tables(parts)
    if table.event_time:
        found = found.sort_by([(table.event_time, "descending")]).slice(0, _needed(project, table, found))
    return found, count


def _usable(project: Project, table: SourceTable, rows: pa.Table) -> pa.Table:
    """Rows with key and event time, before the end of the last period."""
    for column in {*table.key, table.event_time} - {None}:
        rows = rows.filter(pc.is_valid(rows[column]))
    if table.event_time is None:
        return rows
    end = pa.scalar(project.period("all").end, rows.schema.field(table.event_time).type)
    return rows.filter(pc.less(rows[table.event_time], end))


def _needed(project: Project, table: SourceTable, rows: pa.Table) -> int:
    """ROWS, or as many as lie within two horizons of the latest, so that there are requests whose label is due."""
    last = pc.max(rows[table.event_time])
    if not last.is_valid or not project.use_case.horizon:
        return ROWS
    due = pc.greater(rows[table.event_time], pc.subtract(last, pa.scalar(2 * project.use_case.horizon)))
    return max(ROWS, int(pc.sum(due).as_py()))


def _repeated(project: Project, table: SourceTable, rows: pa.Table) -> Repeated:
    """Rows that share their key with one that differs: the same row delivered twice is no contradiction."""
    keys = names(table.key)
    different = f"SELECT DISTINCT {names(table.schema.names)} FROM delivered"
    counts = f"SELECT {keys}, count(*) - 1 AS again FROM ({different}) GROUP BY {keys} HAVING again > 0 ORDER BY {keys}"
    found = _ask(project, rows, counts)
    count = int(pc.sum(found["again"]).as_py() or 0)
    example = found.select(list(table.key)).slice(0, 1).to_pylist()
    return Repeated(count, count / max(rows.num_rows, 1), example[0] if example else {})


def _clean(project: Project, table: SourceTable, rows: pa.Table, repeated: float) -> pa.Table:
    """Without what is so rare that it is dirt: later rows of a key, and rows known before they happened."""
    if repeated <= DIRT:
        first = f"row_number() OVER (PARTITION BY {names(table.key)} ORDER BY {ROW_ID}) = 1"
        rows = _ask(project, rows, f"SELECT * FROM delivered QUALIFY {first}").cast(table.stored_schema)
    if table.known_at is None:
        return rows
    possible = pc.fill_null(pc.greater(rows[table.known_at], rows[table.event_time]), True)
    share = pc.mean(possible).as_py() or 0.0
    return rows.filter(possible) if share >= 1 - (RULED_OUT if _rules_out_early(table) else DIRT) else rows


def _rules_out_early(table: SourceTable) -> bool:
    """Whether a rule says that rows are known after they happened."""
    after = {"column_A": table.known_at, "column_B": table.event_time}
    return any(
        rule.expectation == "column_pair_values_a_to_be_greater_than_b" and after.items() <= rule.arguments.items()
        for rule in table.rules.values()
    )


def _ask(project: Project, rows: pa.Table, sql: str) -> pa.Table:
    return Query(sql, {"delivered": rows}).run(project.stores.threads, project.stores.memory_limit)


def _stored(table: str) -> str:
    return f"sample of {table}"
