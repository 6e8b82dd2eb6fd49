"""Queries of a table of PostgreSQL: which days it has, and the rows of a day."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from itertools import islice
from typing import LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError, SourceError, SourceUnavailableError
from ratchet.core.settings import PARAMS_FILE
from ratchet.core.text import count_of
from ratchet.sources.declared_table import DeclaredTable, Delivered
from ratchet.sources.headers import Kind
from ratchet.sources.places import without_secrets
from ratchet.storage.digests import digest
from ratchet.use_case.batch import Batch, Unread
from ratchet.use_case.contract import INSTANT

Connection = psycopg.Connection[tuple[object, ...]]
_FORMATS = {"DateStyle": "ISO, YMD", "IntervalStyle": "iso_8601", "extra_float_digits": "1", "bytea_output": "hex"}
"""How values are written as text, whatever the server's defaults are."""
_SECRETS = {"password", "sslpassword", "oauth_client_secret"}
_SAME = {
    "int8": pa.int64(),
    "float8": pa.float64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bpchar": pa.string(),
    "timestamptz": INSTANT,
}
_HELD_BY = {
    **dict.fromkeys(("int2", "int4", "oid"), pa.int64()),
    **dict.fromkeys(("float4", "numeric"), pa.float64()),
    **dict.fromkeys(("timestamp", "date"), INSTANT),
}
"""Type of PostgreSQL → the type of a schema that is the same, and that which holds its values. Others are read as text."""
_EVER = "-infinity"
_ROWS = 50_000
"""So many rows are in memory as text at a time."""
_DAYS: LiteralString = """
    SELECT ({watermark}::timestamptz AT TIME ZONE 'UTC')::date::text, count(*)::text, min({watermark})::text,
        max({watermark})::text, sum(hashtextextended(ROW({names})::text, 0)::numeric)::text
    FROM {table}
    WHERE {watermark} >= {begin}::timestamptz AND {watermark} > '-infinity' AND {watermark} < 'infinity'
    GROUP BY ({watermark}::timestamptz AT TIME ZONE 'UTC')::date
    ORDER BY ({watermark}::timestamptz AT TIME ZONE 'UTC')::date
"""
_UNREAD: LiteralString = """
    SELECT count(*) FILTER (WHERE {watermark} > '-infinity' AND {watermark} < 'infinity'), count(*) FROM {table}
    WHERE {watermark} IS NULL OR {watermark} >= 'infinity' OR {watermark} <= '-infinity'
        OR {watermark} < {begin}::timestamptz
"""
_OF_DAY: LiteralString = """
    {watermark} >= ({day}::date::timestamp AT TIME ZONE 'UTC')
    AND {watermark} < (({day}::date + 1)::timestamp AT TIME ZONE 'UTC')
"""
_COUNT: LiteralString = f"SELECT count(*) FROM {{table}} WHERE {_OF_DAY}"
_COPY: LiteralString = f"""
    COPY (SELECT {{columns}} FROM {{table}} WHERE {_OF_DAY} ORDER BY {{watermark}}, ROW({{names}})::text COLLATE "C")
    TO STDOUT
"""


@dataclass(frozen=True)
class DeclaredQuery:
    """A table of a database, as SQL names it, with the column that says when a row was written last."""

    declared: DeclaredTable
    address: str
    table: str
    watermark: str
    period: Period

    @property
    def subject(self) -> str:
        return f"table {self.table} of {without_secrets(self.address)}"


@dataclass(frozen=True)
class Relation:
    """The table as the database has it. `places` are the columns of the schema → their index in `headers`."""

    name: str
    headers: Sequence[str]
    kinds: Mapping[int, Kind]
    places: dict[str, int]
    watermark: str

    def query(self, text: LiteralString, **values: str) -> sql.Composed:
        """A query with the table, the names of the columns, the columns as text, and literal values."""
        names = [sql.Identifier(self.headers[place]) for place in self.places.values()]
        return sql.SQL(text).format(
            table=sql.SQL(self.name),  # the database itself quoted it
            watermark=sql.Identifier(self.watermark),
            names=sql.SQL(", ").join(names),
            columns=sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in names),
            **{name: sql.Literal(value) for name, value in values.items()},
        )


def batches_of(query: DeclaredQuery, days_before: int | None) -> list[Batch | Unread]:
    """A batch for each UTC day, of all days or from some days before the period on, and the rows that are in none of them.

    Raises SettingsError if the address is wrong, and SourceError.
    """
    first = None if days_before is None else query.period.start.astimezone(UTC).date() - timedelta(days=days_before)
    begin = f"{first} 00:00 UTC" if first else _EVER
    with _snapshot(query) as connection:
        relation = _find(connection, query)
        days = connection.execute(relation.query(_DAYS, begin=begin)).fetchall()
        counts = connection.execute(relation.query(_UNREAD, begin=begin)).fetchone()
    earlier, all_unread = (int(str(count)) for count in counts or (0, 0))
    reasons = {
        f"{query.table} before {first}": (earlier, "were written before the days that are read"),
        f"{query.table} without {query.watermark}": (all_unread - earlier, f"have no finite {query.watermark}"),
    }
    unread = [Unread(name, f"{count_of(count, 'row')} {why}") for name, (count, why) in reasons.items() if count]
    return [*(_batch(query, str(day), content) for day, *content in days), *unread]


def _batch(query: DeclaredQuery, day: str, content: Sequence[object]) -> Batch:
    table, reading = query.declared, _Reading(query, day)
    return Batch(
        table.table, day, table.digest(day, digest(*content), query.period), reading.read, reading.count, files=None
    )


@dataclass
class _Reading:
    """The rows of a day. They are counted in the same snapshot in which they are read, by a query of its own."""

    query: DeclaredQuery
    day: str
    counted: int | None = field(default=None, init=False)

    def count(self) -> int:
        """How many rows the day had when it was read, or has now if it was not."""
        if self.counted is not None:
            return self.counted
        with _snapshot(self.query) as connection:
            return self._count(connection, _find(connection, self.query))

    def read(self) -> tuple[pa.Table, list[str]]:
        """The rows, in order of the watermark, and a note for every column that the schema does not have."""
        declared, period = self.query.declared, self.query.period
        with _snapshot(self.query) as connection:
            relation = _find(connection, self.query)
            self.counted = self._count(connection, relation)
            parts = [declared.conform(part, period) for part in _delivered(connection, relation, self.day)]
        rows = pa.concat_tables([declared.schema.empty_table(), *parts], promote_options="default")
        return rows, declared.notes(relation.headers, relation.kinds)

    def _count(self, connection: Connection, relation: Relation) -> int:
        found = connection.execute(relation.query(_COUNT, day=self.day)).fetchone()
        return int(str(found[0])) if found else 0


def _delivered(connection: Connection, relation: Relation, day: str) -> Iterator[Delivered]:
    """The rows of a day as text, some at a time."""
    with connection.cursor().copy(relation.query(_COPY, day=day)) as copy:
        rows = copy.rows()
        while part := list(islice(rows, _ROWS)):
            values = zip(relation.places, zip(*part, strict=True), strict=True)
            columns = {name: pa.chunked_array([pa.array(each, pa.string())]) for name, each in values}
            yield Delivered(columns, relation.headers, relation.kinds)


def _find(connection: Connection, query: DeclaredQuery) -> Relation:
    """Raises SourceError if there is no such table, or if it lacks a column."""
    found = connection.execute("SELECT to_regclass(%s)::text", [query.table]).fetchone()
    if not found or found[0] is None:
        remedy = f"Set source.options.table in {PARAMS_FILE} to a table as SQL names it, such as schema.table"
        raise SourceError("is not there", subject=query.subject, remedy=remedy)
    name = str(found[0])
    probe = sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.SQL(name))
    described = connection.execute(probe).description or ()
    headers = [column.name for column in described]
    kinds = {place: _kind(connection, column.type_code) for place, column in enumerate(described)}
    if query.watermark not in headers:
        raise SourceError(
            f"lacks column {query.watermark}; it has {', '.join(headers)}",
            subject=query.subject,
            remedy=f"Set source.options.watermark in {PARAMS_FILE} to the column with the time of the last change",
        )
    return Relation(name, headers, kinds, query.declared.headers.places(headers, query.subject), query.watermark)


def _kind(connection: Connection, oid: int) -> Kind:
    """The type of a column. One whose values the declared type holds as they are has the name of that."""
    found = connection.adapters.types.get(oid)
    name = found.name if found else "a type of its own"
    if name in _SAME:
        return Kind.of(_SAME[name])
    return Kind(name, _HELD_BY.get(name, pa.string()))


@contextmanager
def _snapshot(query: DeclaredQuery) -> Iterator[Connection]:
    """A connection whose queries all see the same state of the database. Raises SettingsError and SourceError."""
    login = _login(query.address)
    try:
        with psycopg.connect(login) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            for name, value in {**_FORMATS, "TimeZone": query.declared.timezone}.items():
                connection.execute("SELECT set_config(%s, %s, true)", [name, value])
            yield connection
    except psycopg.OperationalError as error:
        raise SourceUnavailableError(
            f"the database does not answer ({_message(error)})",
            subject=query.subject,
            remedy=f"Start it, fix source.path in {PARAMS_FILE}, or set PGPASSWORD or PGPASSFILE",
        ) from error
    except psycopg.Error as error:
        remedy = f"Fix source.options in {PARAMS_FILE}, or the table"
        raise SourceError(f"cannot be read ({_message(error)})", subject=query.subject, remedy=remedy) from error


def _login(address: str) -> str:
    """The parameters of a connection, as libpq takes them.

    Raises SettingsError, without any secret, if the address is wrong or has a password.
    """
    subject = f"{PARAMS_FILE}, source.path {without_secrets(address)}"
    if not address.startswith(("postgresql://", "postgres://")):
        remedy = "Write it as postgresql://user@host:port/database"
        raise SettingsError("is no address of a database", subject=subject, remedy=remedy)
    try:
        given = conninfo_to_dict(address)
    except psycopg.Error:  # its text may have a password
        remedy = "Write it as postgresql://user@host:port/database?name=value, other characters as %XX"
        raise SettingsError("cannot be understood by libpq", subject=subject, remedy=remedy) from None
    if _SECRETS & {*given}:
        remedy = "Remove it, and set PGPASSWORD or PGPASSFILE: params.yaml is in git"
        raise SettingsError("has a password in it", subject=subject, remedy=remedy)
    defaults = {"connect_timeout": os.environ.get("PGCONNECT_TIMEOUT", "10"), "fallback_application_name": "ratchet"}
    return make_conninfo("", **{**defaults, **given, "client_encoding": "utf8"})


def _message(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())
