"""Upcoming rows: rows of future times that already follow from what is known now.

A count over the last hour falls as time passes, and a calendar that is published today holds from tomorrow on. An online store
with only the present row would serve it for too long. So it also keeps the rows that will follow if nothing new becomes known,
as text: one line each, `[seconds since 1970, feature, …]`, in order of time. A request gets the last row that is not later than
itself, which is what the point-in-time join would find.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ratchet.storage.duckdb import Query
from ratchet.storage.sql import names, quoted
from ratchet.use_case.columns import EVENT_TIMESTAMP, UPCOMING
from ratchet.use_case.contract import Array


def pack(rows: pa.Table, keys: Sequence[str]) -> Query:
    """The first row of each key, ordered by key, with the later rows as text in the column UPCOMING.

    `rows` has the keys, event_timestamp in whole seconds (one row for a key at a time) and the features.
    """
    features = [name for name in rows.column_names if name not in {*keys, EVENT_TIMESTAMP}]
    first = [f"first({quoted(name)} ORDER BY {EVENT_TIMESTAMP}) AS {quoted(name)}" for name in features]
    line = f"json_array(epoch({EVENT_TIMESTAMP})::BIGINT, {names(features)})::VARCHAR"
    later = f"array_to_string(list({line} ORDER BY {EVENT_TIMESTAMP})[2:], chr(10))"
    columns = [
        names(keys),
        *first,
        f"min({EVENT_TIMESTAMP}) AS {EVENT_TIMESTAMP}",
        f"nullif({later}, '') AS {UPCOMING}",
    ]
    return Query(
        f"SELECT {', '.join(columns)} FROM known GROUP BY {names(keys)} ORDER BY {names(keys)}", {"known": rows}
    )


def bring_forward(
    columns: Mapping[str, list[object]], since: Array, upcoming: Sequence[str | None], timestamps: Array
) -> None:
    """Replace each row that was read by the one that holds at its request's timestamp.

    `columns` are the features in the order of the text, and `since` their event_timestamp as datetime64[s]. Both are changed in
    place.
    """
    seconds = timestamps.astype("datetime64[s]").astype(np.int64).tolist()
    for place, (text, second) in enumerate(zip(upcoming, seconds, strict=True)):
        row = _last(text.split("\n"), second) if text else None
        if row is not None:
            since[place], *values = row
            for column, value in zip(columns.values(), values, strict=True):
                column[place] = value


def _last(lines: Sequence[str], second: int) -> list[object] | None:
    """The row of the last line that is not later than `second`; None if all are later."""
    found = bisect_right(lines, second, key=lambda line: int(line[1 : line.index(",")]))
    return list(json.loads(lines[found - 1])) if found else None
