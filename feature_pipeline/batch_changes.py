"""A batch against its earlier version: which rows came late, and how many were changed, removed and added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from ratchet.core.environment import Environment
from ratchet.storage.duckdb import connect, names, quoted, timestamptz
from ratchet.use_case.contract import INSTANT, LATE_AT, ROW_ID, UNREADABLE, SourceTable


@dataclass(frozen=True)
class Unasked:
    """Rows known from `start` to `end` should have been there before. Those that were not are late, as of `now`."""

    start: datetime
    end: datetime
    now: datetime


def stamped(
    environment: Environment, table: SourceTable, rows: pa.Table, earlier: pa.Table | None, unasked: Unasked | None
) -> pa.Table:
    """The raw rows of a batch with LATE_AT: that of a row with the same key in the earlier version, or that of `unasked`.

    Without `unasked`, rows that are new are not late: the same delivery was only read by other code.
    """
    event_time, known_at = (quoted(name or "") for name in (table.event_time, table.known_at or table.event_time))
    late = "NULL"
    if unasked:
        begins, ends, now = map(timestamptz, (unasked.start, unasked.end, unasked.now))
        late = f"CASE WHEN {event_time} >= {begins} AND coalesce({known_at}, {event_time}) <= {ends} THEN {now} END"
    keys = names(table.key)
    connection = connect(environment).con
    connection.register("rows", rows)
    connection.register("earlier", _comparable(table, rows if earlier is None else earlier))
    first_there = f"CASE WHEN count(*) = count({LATE_AT}) THEN min({LATE_AT}) END AS first_there"
    query = f"""
        SELECT CASE WHEN is_known THEN first_there ELSE {late} END::TIMESTAMPTZ AS late
        FROM rows LEFT JOIN (
            SELECT {keys}, {first_there}, true AS is_known FROM earlier WHERE {earlier is not None} GROUP BY {keys}
        ) USING ({keys}) ORDER BY {ROW_ID}
    """
    found = connection.sql(query).to_arrow_table().column("late").cast(INSTANT)
    place = rows.column_names.index(LATE_AT)
    return rows.set_column(place, rows.schema.field(LATE_AT), found)


def changes(environment: Environment, table: SourceTable, earlier: pa.Table, rows: pa.Table) -> dict[str, int]:
    """How many rows of the earlier version were changed or removed, and how many rows were added, by their keys."""
    connection = connect(environment).con
    connection.register("old", _comparable(table, earlier))
    connection.register("new", _comparable(table, rows))
    keys, values = names(table.key), f"{names(table.schema.names)}, CAST({UNREADABLE.name} AS VARCHAR)"

    def count(sql: str) -> int:
        ((found,),) = connection.sql(f"SELECT count(*) FROM ({sql})").fetchall()
        return int(found)

    gone = f"SELECT {values} FROM old EXCEPT ALL SELECT {values} FROM new"
    removed = count(f"SELECT {keys} FROM old EXCEPT ALL SELECT {keys} FROM new")
    return {
        "changed": count(gone) - removed,
        "removed": removed,
        "added": count(f"SELECT {keys} FROM new EXCEPT ALL SELECT {keys} FROM old"),
    }


def _comparable(table: SourceTable, rows: pa.Table) -> pa.Table:
    return rows.select([*table.schema.names, LATE_AT, UNREADABLE.name])
