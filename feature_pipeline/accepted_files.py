"""The files of accepted rows: by the UTC date of the event and, if they came late, also by the dates from which they count.

A later step reads the rows of some dates. A row that came late, or was known later than is usual, may be too old to be among
them, although it counts from one of them on. So its folder has all of its dates, and it is read for each. A row whose early
columns were there in time may come late with the rest, so there may be three.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.storage.date_folders import date_folder
from ratchet.storage.partitions import Files, by_date
from ratchet.use_case.arrival import Delivery, accepted_rows
from ratchet.use_case.columns import AVAILABLE_AT, EARLY_AVAILABLE_AT, EARLY_LATE_AT, LATE_AT
from ratchet.use_case.contract import SourceTable

_COUNTS_FROM = {EARLY_LATE_AT: EARLY_AVAILABLE_AT, LATE_AT: AVAILABLE_AT}
"""Column that says when something of a row came late → column that says from when on a feature may use it then."""


def accepted_files(
    table: SourceTable, batch: str, rows: pa.Table, delivery: Delivery, delay: timedelta | None = None
) -> Files:
    """The files of a batch's rows, which have a key and an event time. The table's late columns say which of them came late.

    `delay` is the longest time until a row is usually known. A row that takes longer is treated like one that came late.
    """
    accepted = accepted_rows(table, rows, delivery)
    if table.event_time is None:
        return {f"{table.name}/{batch}": accepted}
    found: dict[str, list[pa.Table]] = defaultdict(list)
    late = {name: pc.is_valid(rows[name]) for name in table.late_columns}
    if table.known_at and delay is not None:
        took = pc.subtract(accepted[table.known_at], accepted[table.event_time])
        late[LATE_AT] = pc.or_(late[LATE_AT], pc.fill_null(pc.greater(took, pa.scalar(delay, took.type)), False))
    for days, of_days in _by_dates(accepted, table.event_time, late):
        found[date_folder(*days)].append(of_days)
    return {f"{table.name}/{folder}/{batch}": pa.concat_tables(parts) for folder, parts in found.items()}


def _by_dates(
    accepted: pa.Table, event_time: str, late: Mapping[str, pa.ChunkedArray]
) -> list[tuple[tuple[date, ...], pa.Table]]:
    """Dates → the accepted rows of that event date that count from those dates on; rows in time count from the event date.

    `late` says of each late column which rows it is true of.
    """
    dated, columns = accepted, [event_time]
    for name in reversed([*late]):
        available = accepted[_COUNTS_FROM[name]]
        counts_from = pc.if_else(late[name], available, pa.scalar(None, available.type))
        columns.append(f"{name} counts from")  # no column of a use case has a space
        dated = dated.append_column(columns[-1], pc.coalesce(counts_from, accepted[event_time]))
    groups: list[tuple[tuple[date, ...], pa.Table]] = [((), dated)]
    for column in columns:
        groups = [((*days, day), of_day) for days, found in groups for day, of_day in by_date(found, column).items()]
    return [(days, found.select(accepted.column_names)) for days, found in groups]
