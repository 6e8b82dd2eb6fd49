"""The point-in-time join as DuckDB SQL over Parquet by UTC date. Only the dates that the result can need are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ratchet.storage.duckdb import Query, parquet
from ratchet.storage.partitions import files
from ratchet.storage.sql import names, quoted, timestamptz
from ratchet.use_case.columns import EVENT_TIMESTAMP


class Rows(Protocol):
    """The rows of a feature view, wherever they are."""

    def between(self, columns: Sequence[str], first: datetime | None, last: datetime | None) -> Query:
        """The columns of the rows from `first` to `last`, inclusive; None: no bound."""


@dataclass(frozen=True)
class DatedRows:
    """Rows in a folder of the offline store. `schema` is that of an empty folder."""

    directory: Path
    schema: pa.Schema

    def between(self, columns: Sequence[str], first: datetime | None, last: datetime | None) -> Query:
        nothing = f"nothing of {self.directory.name}"
        return Query(
            between(self.directory, columns, first, last, quoted(nothing)), {nothing: self.schema.empty_table()}
        )


@dataclass(frozen=True)
class Join:
    """The lookup of one feature view for the entity rows.

    `keys` maps the view's keys to entity columns. `columns` maps the view's features to their names in the result. `schema` has
    the view's keys, event_timestamp and features. Values older than `max_age` become null.
    """

    name: str
    rows: Rows
    schema: pa.Schema
    keys: Mapping[str, str]
    columns: Mapping[str, str]
    max_age: timedelta | None

    @property
    def timestamp(self) -> str:
        """The column with the time since which the values hold; null without a match."""
        return f"{self.name}__{EVENT_TIMESTAMP}"


def point_in_time(entities: Query, joins: Sequence[Join], first: datetime, last: datetime) -> Query:
    """Every entity row, with the last values at or before its event_timestamp, which lies between `first` and `last`.

    A view has at most one row for the same keys and timestamp. A null key matches nothing. The order of rows is undefined.
    """
    views = [(f"view_{number}", join) for number, join in enumerate(joins)]
    values = ["entity.*", *(value for alias, join in views for value in _values(alias, join))]
    found = [join.rows.between(join.schema.names, _oldest(join, first), last) for join in joins]
    clauses = [_clause(alias, join, rows.sql) for (alias, join), rows in zip(views, found, strict=True)]
    tables = {name: table for rows in found for name, table in rows.tables.items()}
    rows = f"SELECT * REPLACE ({EVENT_TIMESTAMP}::TIMESTAMPTZ AS {EVENT_TIMESTAMP}) FROM ({entities.sql})"
    sql = f"SELECT {', '.join(values)} FROM ({rows}) entity {' '.join(clauses)}"
    return Query(sql, {**entities.tables, **tables})


def between(
    directory: Path, columns: Sequence[str], first: datetime | None, last: datetime | None, nothing: str | None = None
) -> str:
    """SQL for `columns` of the rows from `first` to `last` (inclusive); if there is no file, of the table `nothing`."""
    found = files(directory, _date(first), _date(last))
    source = parquet(found) if found else nothing or _no_rows(columns)
    bounds = [f"{EVENT_TIMESTAMP} >= {timestamptz(first)}"] if first else []
    bounds += [f"{EVENT_TIMESTAMP} <= {timestamptz(last)}"] if last else []
    return f"SELECT {names(columns)} FROM {source}" + (f" WHERE {' AND '.join(bounds)}" if bounds else "")


def _values(alias: str, join: Join) -> list[str]:
    columns = {**join.columns, EVENT_TIMESTAMP: join.timestamp}
    return [f"{_fresh(alias, source, join.max_age)} AS {quoted(name)}" for source, name in columns.items()]


def _fresh(alias: str, column: str, max_age: timedelta | None) -> str:
    value = f"{alias}.{quoted(column)}"
    if max_age is None:
        return value
    oldest = f"entity.{EVENT_TIMESTAMP} - {_interval(max_age)}"
    return f"CASE WHEN {alias}.{EVENT_TIMESTAMP} >= {oldest} THEN {value} END"


def _oldest(join: Join, first: datetime) -> datetime | None:
    """The time of the oldest row that a request at `first` may find."""
    return first - join.max_age if join.max_age else None


def _clause(alias: str, join: Join, rows: str) -> str:
    equal = [f"entity.{quoted(column)} = {alias}.{quoted(key)}" for key, column in join.keys.items()]
    known = f"entity.{EVENT_TIMESTAMP} >= {alias}.{EVENT_TIMESTAMP}"
    return f"ASOF LEFT JOIN ({rows}) {alias} ON {' AND '.join([*equal, known])}"


def _no_rows(columns: Sequence[str]) -> str:
    return f"(SELECT {', '.join(f'NULL AS {quoted(name)}' for name in columns)} LIMIT 0)"


def _date(instant: datetime | None) -> date | None:
    return instant.astimezone(UTC).date() if instant else None


def _interval(duration: timedelta) -> str:
    return f"to_microseconds({duration // timedelta(microseconds=1)})"
