"""A bounded sample of a source's rows: the latest rows of each table, as far back as labels and features need.

If these are too many, whole entities are left out, so that the others keep their full history.

Rules are not applied, because their library alone takes longer to start than a check may. The rows that rules mostly reject are
left out in any case: rows without key or event time and, if they are few, repeated rows and rows known before they happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import midnight
from ratchet.features.expressions import CompiledExpression, compile_view
from ratchet.features.source_rows import SourceRows, read_by
from ratchet.project.run import Run
from ratchet.sources.batches import Source, find, read
from ratchet.sources.unreadable import Found, readable
from ratchet.sources.unreadable import found as unreadable
from ratchet.storage.duckdb import Query, connect
from ratchet.storage.sql import names, quoted
from ratchet.use_case.arrival import accepted_rows
from ratchet.use_case.batch import Batch, Unread
from ratchet.use_case.columns import AVAILABLE_AT
from ratchet.use_case.contract import ROW_ID, SourceTable, UseCase

if TYPE_CHECKING:
    import ibis
    from ibis.backends.duckdb import Backend

ROWS = 60_000
"""The most rows of a table, unless its labels or features span a longer time. Reference tables are read completely."""
MOST = 150_000
"""The most rows of a table in any case."""
READ = 1_000_000
"""After this many rows, no further batch of a table is read."""
LATE = 0.99
"""The share of a table's rows that are known within its delay."""
DIRT = 0.01
"""Below this share of rows, a mistake is one of the rows, not of the use case."""
RULED_OUT = 0.1
"""The same share, if a rule quarantines such rows."""


@dataclass(frozen=True)
class Repeated:
    """How many rows have the key of a different row, and an example of such a key."""

    rows: int
    share: float
    example: Mapping[str, Any]


@dataclass(frozen=True)
class Read:
    """How many rows of a table were read, and by column the values that it cannot hold."""

    rows: int
    unreadable: Mapping[str, Found]


@dataclass(frozen=True)
class Sample:
    """`tables`: table → rows in its stored schema. `read`: what was read for them. One of `thinned` entities was kept."""

    run: Run
    tables: Mapping[str, pa.Table]
    repeated: Mapping[str, Repeated]
    read: Mapping[str, Read]
    batches: int
    unread: Sequence[Unread] = ()
    thinned: int = 1

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return sum(read.rows for read in self.read.values())

    @cached_property
    def connection(self) -> Backend:
        """A DuckDB that holds the sample."""
        connection = connect(self.run.environment)
        for name, rows in self.tables.items():
            _store(connection, _stored(name), rows)
        return connection

    @property
    def last(self) -> datetime:
        """The latest event time of all rows."""
        tables = (table for table in self.run.use_case.tables if table.event_time)
        found = [pc.max(self.tables[table.name][table.event_time]).as_py() for table in tables]
        return max((instant for instant in found if instant), default=self.run.as_of("feature"))

    def stored(self, name: str, rows: pa.Table) -> ibis.Table:
        """A further table in the database, under a name of its own."""
        _store(self.connection, name, rows)
        return self.connection.table(name)

    def opened(self, compiled: CompiledExpression) -> SourceRows:
        """The sample in place of the accepted rows."""
        return SourceRows(self.connection, read_by(self.run.use_case, compiled), self._rows)

    def _rows(self, table: SourceTable, first: date | None, last: date | None) -> ibis.Table:
        """The rows of some dates, as accepted tables have them: a row that was known later than is usual has two dates."""
        rows, delay = self.connection.table(_stored(table.name)), self.run.use_case.delay(table.name)
        if table.event_time is None:
            return rows
        found = _within(rows[table.event_time], first, last)
        if table.known_at and delay is not None:
            import ibis

            usual = rows[table.event_time] + ibis.interval(microseconds=delay // timedelta(microseconds=1))
            found |= (rows[table.known_at] > usual) & _within(rows[AVAILABLE_AT], first, last)
        return rows.filter(found)


def _within(column: ibis.Value, first: date | None, last: date | None) -> ibis.Value:
    """Whether an instant is of the UTC dates `first` to `last`; None: no bound."""
    import ibis

    bounds = [column >= midnight(first)] if first else []
    bounds += [column < midnight(last + timedelta(days=1))] if last else []
    return ibis.and_(*bounds)


def take_sample(run: Run) -> Sample:
    """Read the latest batches of the active source, as many as are needed. Raises SourceError."""
    source = find(Source.open(run))
    found = source.batches
    latest, read = {}, {}
    for table in run.use_case.tables:
        own = [batch for batch in found.values() if batch.table == table.name]
        latest[table.name], read[table.name] = _latest(run, table, own)
    kept, thinned = _bounded(run, latest)
    repeated = {table.name: _repeated(run, table, kept[table.name]) for table in run.use_case.tables}
    tables = {
        table.name: accepted_rows(
            table, _clean(run, table, kept[table.name], repeated[table.name].share), run.delivery(table.name)
        )
        for table in run.use_case.tables
    }
    return Sample(run, tables, repeated, read, len(found), source.unread, thinned)


def _latest(run: Run, table: SourceTable, batches: Sequence[Batch]) -> tuple[pa.Table, Read]:
    """The usable rows of the last batches, as many as are needed, and what was read for them."""
    parts, count, problems = [], 0, dict[str, Found]()
    for batch in reversed(batches):
        raw = read(run.use_case, batch).replace_schema_metadata(None)
        rows, count = readable(raw), count + raw.num_rows
        for name, problem in unreadable(raw).items():
            before = problems.get(name)
            problems[name] = replace(problem, count=problem.count + (before.count if before else 0))
        parts.append(_usable(run, table, rows))
        is_enough = table.event_time and _needed(run, table, pa.concat_tables(parts)) < sum(map(len, parts))
        if is_enough or (table.event_time and count > READ):
            break
    found = pa.concat_tables(parts)
    if table.event_time:
        found = found.sort_by([(table.event_time, "descending")]).slice(0, _needed(run, table, found))
    return found, Read(count, problems)


def _bounded(run: Run, tables: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], int]:
    """Tables with at most about MOST dated rows: those of one of `share` entities, or else the latest rows (a share of 1)."""
    dated = {table.name: table for table in run.use_case.tables if table.event_time}
    size = max((tables[name].num_rows for name in dated), default=0)
    if size <= MOST:
        return dict(tables), 1
    large = [table for name, table in dated.items() if tables[name].num_rows > MOST]
    share = -(-size // MOST)
    for keys in (run.use_case.view(lookup.view).keys for lookup in run.use_case.lookups):
        if all({*keys} <= {*table.schema.names} for table in large):
            whole = [name for name, table in dated.items() if {*keys} <= {*table.schema.names}]
            kept = {name: _of_some(run, dated[name], tables[name], keys, share) for name in whole}
            if all(ROWS // 3 <= kept[table.name].num_rows <= 2 * MOST for table in large):
                return {**tables, **kept}, share
    return {name: rows.slice(0, MOST) if name in dated else rows for name, rows in tables.items()}, 1


def _of_some(run: Run, table: SourceTable, rows: pa.Table, keys: Sequence[str], share: int) -> pa.Table:
    """The rows of one entity of `share`, the same entities in every table."""
    value = ", ".join(f"CAST({names([key])} AS VARCHAR)" for key in keys)
    return _ask(run, rows, f"SELECT * FROM delivered WHERE hash({value}) % {share} = 0").cast(table.delivered_schema)


def _usable(run: Run, table: SourceTable, rows: pa.Table) -> pa.Table:
    """Rows with key and event time, before the as-of instant."""
    for column in {*table.key, table.event_time} - {None}:
        rows = rows.filter(pc.is_valid(rows[column]))
    if table.event_time is None:
        return rows
    end = pa.scalar(run.as_of("feature"), rows.schema.field(table.event_time).type)
    return rows.filter(pc.less(rows[table.event_time], end))


def _needed(run: Run, table: SourceTable, rows: pa.Table) -> int:
    """How many rows are needed: all within the span before the latest row, but at least ROWS."""
    last, span = pc.max(rows[table.event_time]), _span(run.use_case, table, rows)
    if not last.is_valid or not span:
        return ROWS
    inside = pc.greater(rows[table.event_time], pc.subtract(last, pa.scalar(span)))
    return max(ROWS, int(pc.sum(inside).as_py()))


def _span(use_case: UseCase, table: SourceTable, rows: pa.Table) -> timedelta:
    """Twice the time until a label is known, so that some labels are due, plus the longest lookback of the table's features."""
    reading = (view for view in use_case.views if table.name in compile_view(use_case, view).reads)
    looks_back = [reach for view in reading for reach in (view.lookback, view.max_age) if reach]
    return 2 * (_delay(table, rows) + use_case.horizon) + max(looks_back, default=timedelta(0))


def _delay(table: SourceTable, rows: pa.Table) -> timedelta:
    """How long after their event_time nearly all rows are known."""
    if table.known_at is None:
        return timedelta(0)
    delays = pc.cast(pc.subtract(rows[table.known_at], rows[table.event_time]), pa.int64())
    microseconds = pc.quantile(delays, LATE)[0].as_py() or 0
    return timedelta(microseconds=max(0, microseconds))


def _repeated(run: Run, table: SourceTable, rows: pa.Table) -> Repeated:
    """Rows that share their key with a different row. The same row delivered twice does not count."""
    keys = names(table.key)
    different = f"SELECT DISTINCT {names(table.schema.names)} FROM delivered"
    counts = f"SELECT {keys}, count(*) - 1 AS again FROM ({different}) GROUP BY {keys} HAVING again > 0 ORDER BY {keys}"
    found = _ask(run, rows, counts)
    count = int(pc.sum(found["again"]).as_py() or 0)
    example = found.select(list(table.key)).slice(0, 1).to_pylist()
    return Repeated(count, count / max(rows.num_rows, 1), example[0] if example else {})


def _clean(run: Run, table: SourceTable, rows: pa.Table, repeated: float) -> pa.Table:
    """The rows without two rare mistakes: later rows of a key, and rows known before they happened."""
    if repeated <= DIRT:
        first = f"row_number() OVER (PARTITION BY {names(table.key)} ORDER BY {ROW_ID}) = 1"
        rows = _ask(run, rows, f"SELECT * FROM delivered QUALIFY {first}").cast(table.delivered_schema)
    if table.known_at is None:
        return rows
    possible = pc.fill_null(pc.greater(rows[table.known_at], rows[table.event_time]), True)
    share = pc.mean(possible).as_py() or 0.0
    return rows.filter(possible) if share >= 1 - (RULED_OUT if _rules_out_early(table) else DIRT) else rows


def _rules_out_early(table: SourceTable) -> bool:
    """Whether a rule requires that rows are known after they happened."""
    after = {"column_A": table.known_at, "column_B": table.event_time}
    return any(
        rule.expectation == "column_pair_values_a_to_be_greater_than_b" and after.items() <= rule.arguments.items()
        for rule in table.rules.values()
    )


def _ask(run: Run, rows: pa.Table, sql: str) -> pa.Table:
    return Query(sql, {"delivered": rows}).run(run.environment.threads, run.environment.memory_limit)


def _store(connection: Backend, name: str, rows: pa.Table) -> None:
    connection.con.register("delivered", rows)
    connection.raw_sql(f"CREATE TABLE {quoted(name)} AS SELECT * FROM delivered")
    connection.con.unregister("delivered")


def _stored(table: str) -> str:
    return f"sample of {table}"
