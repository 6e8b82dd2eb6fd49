"""A ready-made source of rows in a table of PostgreSQL. Each UTC day on which rows were written last is a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
from pydantic import Field

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import PARAMS_FILE, parse
from ratchet.sources.declared_table import DeclaredTable
from ratchet.use_case.batch import Batch, Loader, Unread

INSTALL = "pip install 'psycopg[binary]>=3.2,<4'"


class PostgresOptions(Frozen):
    """`watermark`: the column with the time at which a row was written last; an index on it helps. `table`: the table as SQL
    names it (default: its name in the use case). `days_before`: read rows from that many days before the period on, not all."""

    watermark: str
    table: str = ""
    days_before: int | None = Field(None, ge=0, le=100_000)


@dataclass(frozen=True)
class PostgresSource:
    """A loader: call it with (path, options, period)."""

    declared: DeclaredTable

    def __call__(self, path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch | Unread]:
        chosen = parse(PostgresOptions, options, f"{PARAMS_FILE}, source.options")
        try:
            from ratchet.sources.postgres_table import DeclaredQuery, batches_of
        except ImportError as error:
            raise SettingsError(
                f"needs the driver of PostgreSQL ({error})",
                subject=f"source of {self.declared.table}",
                remedy=f"Run `{INSTALL}`",
            ) from error
        table = chosen.table or self.declared.table
        query = DeclaredQuery(self.declared, path, table, chosen.watermark, period)
        return batches_of(query, chosen.days_before)


def postgres_source(
    table: str,
    schema: pa.Schema,
    *,
    timezone: str,
    known_after: tuple[str, timedelta] | None = None,
    scattered_by: str | None = None,
    renamed: Mapping[str, str] | None = None,
    optional: Sequence[str] = (),
) -> Loader:
    """A loader of `table` from a table or view of PostgreSQL 11 or later. The arguments are those of `DeclaredTable`.

    `source.path` is `postgresql://user@host:port/database` without a password, which libpq finds in PGPASSWORD or PGPASSFILE.
    The options are those of `PostgresOptions`. Values are read as PostgreSQL writes them as text, in the same way as the cells
    of a CSV file. A batch is named after its UTC day. Its digest changes with every change of its rows in the columns of the
    schema. Raises SettingsError.
    """
    declared = DeclaredTable(table, schema, timezone, known_after, scattered_by, renamed or {}, optional)
    return PostgresSource(declared)
