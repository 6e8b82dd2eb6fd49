"""The identity of an accepted row: a digest of its key, wherever and however often the row was delivered."""

from __future__ import annotations

from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.use_case.contract import ROW_KEY, SourceTable

_SIZE = 12
"""Bytes of a digest: two of a thousand million rows are the same with a probability of 1e-11."""


def keyed(table: SourceTable, rows: pa.Table) -> pa.Table:
    """The rows with ROW_KEY as first column, and the columns of the table's schema. Those of its key have no nulls."""
    keys = pa.array(_digests(table, rows), pa.string())
    return pa.table([keys, *rows.select(table.schema.names).columns], names=[ROW_KEY, *table.schema.names])


def _digests(table: SourceTable, rows: pa.Table) -> list[str]:
    """A digest for each row. Every part is preceded by its length, so that different keys never give the same text."""
    parts = [_measured(_text(rows[name])) for name in table.key]
    prefix = pa.array([f"{table.name}:"] * rows.num_rows, pa.string())
    texts = pc.binary_join_element_wise(prefix, *parts, "") if rows.num_rows else prefix
    return [blake2b(text.encode(), digest_size=_SIZE).hexdigest() for text in texts.to_pylist()]


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as text; instants as microseconds since 1970, which no library formats differently."""
    whole = pc.cast(column, pa.int64()) if pa.types.is_timestamp(column.type) else column
    return pc.cast(whole, pa.string())


def _measured(text: pa.ChunkedArray) -> pa.ChunkedArray:
    lengths = pc.cast(pc.binary_length(text), pa.string())
    return pc.binary_join_element_wise(lengths, text, ":")
