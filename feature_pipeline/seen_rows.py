"""The raw rows of a batch as they were seen as of an instant. A row may have come later, or may have been pending then."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.sources.unreadable import without_texts
from ratchet.use_case.columns import EARLY_LATE_AT, KNOWN_SEEN_AT, LATE_AT, SEEN_AT
from ratchet.use_case.contract import ROW_ID, SourceTable


def unseen(raw: pa.Table, at: datetime) -> list[str]:
    """Ids of the rows that were not there as of an instant."""
    ids: list[str] = raw.filter(pc.greater(raw[SEEN_AT], at))[ROW_ID].to_pylist()
    return ids


def as_seen(table: SourceTable, raw: pa.Table, at: datetime) -> pa.Table:
    """The raw rows, without what became known later than an instant of those that were seen pending: it is null."""
    if not table.known_at:
        return raw
    pending = pc.fill_null(pc.greater(raw[KNOWN_SEEN_AT], at), False)
    if not pc.any(pending).as_py():
        return raw
    early = {*table.key, table.event_time, *table.early}
    late = [name for name in table.schema.names if name not in early]
    then = {name: pa.scalar(None, raw.schema.field(name).type) for name in (*late, KNOWN_SEEN_AT)}
    came_late = raw[EARLY_LATE_AT] if table.early else raw[LATE_AT]
    then[LATE_AT] = pc.if_else(pc.greater(came_late, at), then[KNOWN_SEEN_AT], came_late)
    for name, value in then.items():
        column = pc.if_else(pending, value, raw[name])
        raw = raw.set_column(raw.column_names.index(name), raw.schema.field(name), column)
    return without_texts(raw, pending, late)
