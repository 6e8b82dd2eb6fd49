"""Accepted rows, under the names that a derivation calls them by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from ratchet.derivation import Derivation
from ratchet.project import Project
from ratchet.tables import connect, scan
from ratchet.use_case import SourceTable

if TYPE_CHECKING:
    import ibis

Prepare = Callable[[SourceTable, "ibis.Table"], "ibis.Table"]


def _whole(_table: SourceTable, rows: ibis.Table) -> ibis.Table:
    return rows


class Accepted:
    """A DuckDB that holds the accepted tables which a derivation reads."""

    def __init__(self, project: Project, derivation: Derivation) -> None:
        self.tables = [project.use_case.table(name) for name in derivation.reads]
        self.connection = connect(project.stores)
        self._directory = project.accepted

    def expose(self, first: date | None, last: date | None, prepare: Prepare = _whole) -> None:
        """Let the tables hold their rows of the UTC dates `first` to `last`; reference tables are always whole."""
        for table in self.tables:
            dates = (None, None) if table.is_reference else (first, last)
            rows = scan(self.connection, self._directory / table.name, table.stored_schema, *dates)
            self.connection.create_view(table.name, prepare(table, rows), overwrite=True)

    def value(self, expression: ibis.Scalar) -> Any:
        """A single value, as Python has it."""
        return self.connection.to_pyarrow(expression).as_py()
