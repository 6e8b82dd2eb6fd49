"""Accepted rows in DuckDB, under the table names that a compiled expression uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.core.environment import Environment
from ratchet.features.expressions import CompiledExpression
from ratchet.storage.duckdb import connect, scan
from ratchet.storage.sql import quoted, timestamptz
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import SourceTable, UseCase

if TYPE_CHECKING:
    import ibis
    from ibis.backends.duckdb import Backend

Prepare = Callable[[SourceTable, "ibis.Table"], "ibis.Table"]
Rows = Callable[[SourceTable, "date | None", "date | None"], "ibis.Table"]
"""(table, first, last) → its accepted rows of these UTC dates, inclusive; None: no bound."""


def _whole(_table: SourceTable, rows: ibis.Table) -> ibis.Table:
    return rows


class SourceRows:
    """A DuckDB with the tables that a compiled expression reads, under the names that the expression uses."""

    def __init__(self, connection: Backend, tables: Sequence[SourceTable], rows: Rows) -> None:
        self.connection = connection
        self.tables = tables
        self._rows = rows

    @classmethod
    def of(
        cls, accepted: Path, use_case: UseCase, environment: Environment, compiled: CompiledExpression
    ) -> SourceRows:
        """The tables of the use case in the folder of accepted rows."""
        connection = connect(environment)

        def rows(table: SourceTable, first: date | None, last: date | None) -> ibis.Table:
            return scan(connection, accepted / table.name, table.accepted_schema, first, last)

        return cls(connection, read_by(use_case, compiled), rows)

    def bind(self, first: date | None, last: date | None, prepare: Prepare = _whole) -> None:
        """Make the tables hold their rows of the UTC dates `first` to `last`, inclusive. Reference tables are always whole."""
        for table in self.tables:
            dates = (None, None) if table.is_reference else (first, last)
            rows = self.connection.compile(prepare(table, self._rows(table, *dates)))
            self.connection.raw_sql(f"CREATE OR REPLACE VIEW {quoted(table.name)} AS {rows}")

    def snapshot(
        self,
        compiled: CompiledExpression,
        after: datetime | None = None,
        until: datetime | None = None,
        timestamp: str = EVENT_TIMESTAMP,
    ) -> ibis.Table:
        """A copy of the rows of a compiled expression in (after, until]; it stays the same when the tables are bound again."""
        from ibis.util import gen_name

        name = gen_name("kept")
        bounds = [f"{timestamp} > {timestamptz(after)}"] if after else []
        bounds += [f"{timestamp} <= {timestamptz(until)}"] if until else []
        where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
        self.connection.raw_sql(f"CREATE TABLE {name} AS SELECT * FROM ({compiled.sql}){where}")
        return self.connection.table(name)

    def value(self, sql: str) -> Any:
        """The single value that a query returns, as a Python object."""
        (value,) = self.connection.con.sql(sql).to_arrow_table().column(0).to_pylist()
        return value


def read_by(use_case: UseCase, compiled: CompiledExpression) -> list[SourceTable]:
    """The tables that a compiled expression reads."""
    return [use_case.table(name) for name in compiled.reads]
