"""A batch against its earlier version: which rows came late, and how many were changed, removed, added and moved to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.core.environment import Environment
from ratchet.storage.duckdb import connect, literal
from ratchet.storage.sql import names, quoted, timestamptz
from ratchet.use_case.columns import EARLY_LATE_AT, KNOWN_SEEN_AT, LATE_AT, SEEN_AT
from ratchet.use_case.contract import INSTANT, ROW_ID, UNREADABLE, SourceTable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TABLE, _ROW, _FILE = "number of the table", "number of the row", "name of the file"
"""No columns of a use case: they have spaces."""


@dataclass(frozen=True)
class Unasked:
    """Ingest has asked for the time up to `end`. What was not there then, is there as of `now`; what was known a `lag` before
    `end` should have been there, and is late. If there is a `start`, rows with earlier event times were not asked for."""

    start: datetime | None
    end: datetime
    lag: timedelta
    now: datetime


def stamped(
    environment: Environment,
    table: SourceTable,
    rows: pa.Table,
    earlier: pa.Table | None,
    unasked: Unasked | None,
    elsewhere: Sequence[pa.Table] = (),
) -> pa.Table:
    """The raw rows of a batch with when they came, and came late: as a row with the same key in the earlier version, or by
    `unasked`. A row may also have been in another batch: `elsewhere` are raw rows of such ones.

    A row that was pending and is known now may be late with what became known; its early columns are as late as before.
    Without `unasked`, nothing came: the same delivery was only read by other code. If the table's key or times are declared
    otherwise now, nothing can be compared, and nothing came late.
    """
    times, came = filter(None, (table.event_time, table.known_at)), (*table.late_columns, *table.seen_columns)
    needed = [*dict.fromkeys((*table.key, *times, *came))]
    if earlier is not None and not are_alike(earlier.schema, rows.schema, needed):
        earlier, unasked = None, None
    before = [each.select(needed) for each in (rows.slice(0, 0) if earlier is None else earlier, *elsewhere)]
    connection = connect(environment).con
    connection.register("old", pa.concat_tables(each.replace_schema_metadata() for each in before))
    connection.register("new", rows.select([ROW_ID, *needed]))
    found = connection.sql(_arrivals(table, unasked)).to_arrow_table()
    for name in came:
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), found[name].cast(INSTANT))
    return rows


def _arrivals(table: SourceTable, unasked: Unasked | None) -> str:
    """The late and the seen columns of the rows in `new`, of which some were in `old`, in SQL; in order."""
    keys, known, event_time = names(table.key), _known(table), quoted(table.event_time or "")
    new = _late(table, event_time if table.early else f"coalesce({known}, {event_time})", unasked)
    first_there = ", ".join(
        f"CASE WHEN count(*) = count({name}) THEN min({name}) END AS before_{name}"
        for name in (*table.late_columns, SEEN_AT)
    )
    known_seen = KNOWN_SEEN_AT if table.known_at else "NULL"
    first_known = f"CASE WHEN count({known}) = count({known_seen}) THEN min({known_seen}) END AS before_{KNOWN_SEEN_AT}"
    now = timestamptz(unasked.now) if unasked else "NULL"
    return f"""
        WITH before AS (
            SELECT {keys}, true AS was_there, count({known}) = 0 AS was_pending, {first_there}, {first_known}
            FROM old GROUP BY {keys}
        )
        SELECT CASE WHEN was_there IS NULL THEN {new}
            WHEN was_pending AND {known} IS NOT NULL THEN greatest(before_{LATE_AT}, {_late(table, known, unasked)})
            ELSE before_{LATE_AT} END::TIMESTAMPTZ AS {LATE_AT},
            CASE WHEN was_there THEN before_{table.late_columns[-1]} ELSE {new} END::TIMESTAMPTZ AS {EARLY_LATE_AT},
            CASE WHEN was_there THEN before_{SEEN_AT} ELSE {_seen(table, unasked)} END::TIMESTAMPTZ AS {SEEN_AT},
            CASE WHEN was_pending AND {known} IS NOT NULL THEN {now} ELSE before_{KNOWN_SEEN_AT} END::TIMESTAMPTZ
            AS {KNOWN_SEEN_AT}
        FROM new LEFT JOIN before USING ({keys}) ORDER BY {ROW_ID}
    """


def changes(environment: Environment, table: SourceTable, earlier: pa.Table, rows: pa.Table) -> dict[str, int]:
    """How many rows of the earlier version were changed or removed, and how many rows were added, by their keys. `with_moved`
    tells which of the added rows were elsewhere before.

    A row that was pending, and whose early columns are the same, is not changed by becoming known.
    """
    connection = connect(environment).con
    for name, version in (("old", earlier), ("new", rows)):
        connection.register(name, version.select([*table.schema.names, UNREADABLE.name]))
    keys, known = names(table.key), _known(table)
    everything = f"{names(table.schema.names)}, CAST({UNREADABLE.name} AS VARCHAR)"
    early = names([*dict.fromkeys((*table.key, table.event_time or table.key[0], *table.early))])
    gone = _count(
        connection, f"SELECT {everything} FROM old WHERE {known} IS NOT NULL", f"SELECT {everything} FROM new"
    )
    gone += _count(connection, f"SELECT {early} FROM old WHERE {known} IS NULL", f"SELECT {early} FROM new")
    removed = _count(connection, f"SELECT {keys} FROM old", f"SELECT {keys} FROM new")
    added = _count(connection, f"SELECT {keys} FROM new", f"SELECT {keys} FROM old")
    return {"changed": gone - removed, "removed": removed, "added": added, "moved": 0}


def with_moved(
    environment: Environment,
    table: SourceTable,
    earlier: pa.Table,
    rows: pa.Table,
    elsewhere: Sequence[pa.Table],
    found: Mapping[str, int],
) -> dict[str, int]:
    """The `changes` that were found, where some of the added rows may have moved: those that are in `elsewhere`. These are raw
    rows of other batches and of earlier versions, those that were in force last first.

    A row that moved is changed if it would count as changed in the same batch.
    """
    before = [earlier, _last_seen(environment, table, new_keys(environment, table, earlier, rows), elsewhere)]
    columns = [*table.schema.names, UNREADABLE.name]
    both = pa.concat_tables(each.select(columns).replace_schema_metadata() for each in before)
    now = changes(environment, table, both, rows)
    return {**found, "changed": now["changed"], "added": now["added"], "moved": found["added"] - now["added"]}


def new_keys(environment: Environment, table: SourceTable, earlier: pa.Table, rows: pa.Table) -> pa.Table:
    """The keys of the rows that the earlier version does not have."""
    connection = connect(environment).con
    for name, version in (("old", earlier), ("new", rows)):
        connection.register(name, version.select([*table.key]))
    return connection.sql(f"SELECT * FROM new ANTI JOIN old USING ({names(table.key)})").to_arrow_table()


def _last_seen(environment: Environment, table: SourceTable, keys: pa.Table, elsewhere: Sequence[pa.Table]) -> pa.Table:
    """The rows with these keys in the first table that has the key."""
    rows, connection = pa.concat_tables(each.replace_schema_metadata() for each in elsewhere), connect(environment).con
    tables = pa.chunked_array([pa.repeat(number, each.num_rows) for number, each in enumerate(elsewhere)])
    numbered = pa.table({_TABLE: tables, _ROW: pa.array(range(rows.num_rows))})
    for name in table.key:
        numbered = numbered.append_column(name, rows[name])
    connection.register("elsewhere", numbered)
    connection.register("wanted", keys)
    key, place = names(table.key), quoted(_TABLE)
    found = connection.sql(f"""
        SELECT {quoted(_ROW)} FROM elsewhere SEMI JOIN wanted USING ({key})
        QUALIFY {place} = min({place}) OVER (PARTITION BY {key})
    """)
    return rows.take(found.to_arrow_table().column(0))


def holding(environment: Environment, table: SourceTable, rows: pa.Table, paths: Iterable[Path]) -> list[Path]:
    """Those of the Parquet files of a table that have keys of these rows. All are read by one query."""
    alike = [path for path in paths if are_alike(pq.read_schema(path), rows.schema, table.key)]
    if not alike:
        return []
    connection = connect(environment).con
    connection.register("wanted", rows.select([*table.key]))
    read = f"read_parquet(?, hive_partitioning = false, filename = '{_FILE}')"
    held = f"SELECT DISTINCT {quoted(_FILE)} FROM {read} SEMI JOIN wanted USING ({names(table.key)})"
    found = {name for (name,) in connection.execute(held, [[literal(str(path)) for path in alike]]).fetchall()}
    return [path for path in alike if str(path) in found]


def are_alike(earlier: pa.Schema, schema: pa.Schema, columns: Iterable[str]) -> bool:
    """Whether both have these columns, with the same types."""
    return all(name in earlier.names and earlier.field(name).type == schema.field(name).type for name in columns)


def _late(table: SourceTable, since: str, unasked: Unasked | None) -> str:
    """When something came late that should have been there `since` an instant, both in SQL; null if it is in time."""
    return "NULL" if unasked is None else _new(table, since, unasked, unasked.end - unasked.lag)


def _seen(table: SourceTable, unasked: Unasked | None) -> str:
    """When a new row was first there, in SQL; null if ingest had not asked for its time."""
    since = f"least({_known(table)}, {quoted(table.event_time or '')})"  # the other one if one is null
    return "NULL" if unasked is None else _new(table, since, unasked, unasked.end)


def _new(table: SourceTable, since: str, unasked: Unasked, end: datetime) -> str:
    """Now for what is there `since` an instant up to `end`, and was asked for; else null, in SQL."""
    was_asked = f"{quoted(table.event_time or '')} >= {timestamptz(unasked.start)}" if unasked.start else "true"
    return f"CASE WHEN {was_asked} AND {since} <= {timestamptz(end)} THEN {timestamptz(unasked.now)} END"


def _known(table: SourceTable) -> str:
    """The column that is null while a row is pending, in SQL; a reference table has none."""
    column = table.known_at or table.event_time
    return quoted(column) if column else "true"


def _count(connection: DuckDBPyConnection, some: str, others: str) -> int:
    """How many rows of one query the other lacks."""
    ((found,),) = connection.sql(f"SELECT count(*) FROM ({some} EXCEPT ALL {others})").fetchall()
    return int(found)
