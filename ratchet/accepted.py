"""Accepted rows, under the names that a use case's compiled expressions call them by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from ratchet.feature_service import tables_read
from ratchet.project import Project
from ratchet.tables import connect, scan
from ratchet.use_case import SourceTable

if TYPE_CHECKING:
    import ibis
    import ibis.backends.duckdb

Prepare = Callable[[SourceTable, "ibis.Table"], "ibis.Table"]


def as_accepted(_table: SourceTable, rows: ibis.Table) -> ibis.Table:
    """Every row, as it was accepted."""
    return rows


class Accepted:
    """A DuckDB with the accepted tables that an expression reads, whole or of a range of UTC dates."""

    def __init__(self, project: Project, expression: ibis.Table) -> None:
        self._project = project
        self._tables = [project.use_case.table(name) for name in tables_read(expression)]
        self.connection = connect(project.stores)

    def expose(self, first: date | None, last: date | None, prepare: Prepare = as_accepted) -> None:
        """Let the tables hold the rows of `first` to `last`, inclusive; reference tables are always whole."""
        for table in self._tables:
            bounds = (None, None) if table.is_reference else (first, last)
            rows = scan(self.connection, self._project.accepted / table.name, table.stored_schema, *bounds)
            self.connection.create_view(table.name, prepare(table, rows), overwrite=True)
