"""The files of accepted rows: by the UTC date of the event and, if they came late, also by the date from which they count.

A later step reads the rows of some dates. A row that came late may be too old to be among them, although it counts from one of
them on. So its folder has both dates, and it is read for either.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.storage.partitions import Files, by_date, date_folder
from ratchet.use_case.arrival import Delivery, accepted_rows
from ratchet.use_case.columns import AVAILABLE_AT, EARLY_AVAILABLE_AT, LATE_AT
from ratchet.use_case.contract import SourceTable

_COUNTS_FROM = "counts from"  # no column of a use case has a space


def accepted_files(table: SourceTable, batch: str, rows: pa.Table, delivery: Delivery) -> Files:
    """The files of a batch's rows, which have a key and an event time. LATE_AT says which of them came late, and when."""
    accepted = accepted_rows(table, rows, delivery)
    if table.event_time is None:
        return {f"{table.name}/{batch}": accepted}
    dated = accepted.append_column(_COUNTS_FROM, _counts_from(table, rows, accepted))
    return {
        f"{table.name}/{date_folder(day, counts_from)}/{batch}": of_both.drop_columns([_COUNTS_FROM])
        for day, of_day in by_date(dated, table.event_time).items()
        for counts_from, of_both in by_date(of_day, _COUNTS_FROM).items()
    }


def _counts_from(table: SourceTable, rows: pa.Table, accepted: pa.Table) -> pa.ChunkedArray:
    """From when on a feature may use something of a row that came late; the event time of other rows."""
    available = accepted[EARLY_AVAILABLE_AT if table.early else AVAILABLE_AT]
    late = pc.if_else(pc.is_valid(rows[LATE_AT]), available, pa.scalar(None, available.type))
    return pc.coalesce(late, accepted[table.event_time])
