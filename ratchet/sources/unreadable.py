"""Values of a batch that its table cannot hold: null in their column, and kept as text beside the row.

Such a row is quarantined, with a reason that names the column. The other rows of the batch are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import END, FIRST
from ratchet.use_case.contract import UNREADABLE

Convert = Callable[[pa.ChunkedArray], pa.ChunkedArray]
Texts = dict[str, str]
"""Column → the text that was delivered there."""
EXACT = 2**53
"""float64 holds every integer up to this one exactly."""
WHOLE_ROW = "whole_row"
"""Used in place of a column's name for a row that cannot be split into columns."""


def converted(values: pa.ChunkedArray, convert: Convert) -> pa.ChunkedArray:
    """The converted values, with null for each value for which `convert` raises ArrowInvalid."""
    try:
        return convert(values)
    except pa.ArrowInvalid:
        encoded = values.combine_chunks().dictionary_encode()
        each = _each(encoded.dictionary, convert).combine_chunks()
        return pa.chunked_array([each.take(encoded.indices)])


def _each(values: pa.Array, convert: Convert) -> pa.ChunkedArray:
    """Convert values by halves, down to the single values that cannot be converted."""
    try:
        return convert(pa.chunked_array([values]))
    except pa.ArrowInvalid:
        if len(values) == 1:
            return convert(pa.chunked_array([pa.nulls(1, values.type)]))
    half = len(values) // 2
    parts = [_each(part, convert) for part in (values[:half], values[half:])]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks])


def lost(given: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which rows had a value in `given` and are null in `values`; NaN is not a value."""
    return pc.and_(pc.invert(pc.is_null(given, nan_is_null=True)), pc.is_null(values))


def impossible(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which values later steps cannot use: infinite numbers, integers that float64 cannot hold exactly, and instants that are
    not between FIRST and END."""
    if pa.types.is_integer(values.type):
        return pc.or_(pc.less(values, -EXACT), pc.greater(values, EXACT)).fill_null(False)
    if pa.types.is_floating(values.type):
        return pc.is_inf(values).fill_null(False)
    if pa.types.is_timestamp(values.type):
        return pc.or_(pc.less_equal(values, FIRST), pc.greater_equal(values, END)).fill_null(False)
    return pa.chunked_array([pa.repeat(False, len(values))])


def keep_lost(rows: pa.Table, given: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    """The rows, with the delivered text of each value in these columns that was lost, or that is impossible.

    An impossible integer is not kept here: its own digits are the delivered text.
    """
    texts: dict[int, Texts] = {}
    for name, values in given.items():
        is_kept = lost(values, rows[name])
        if not pa.types.is_integer(rows[name].type):
            is_kept = pc.or_(is_kept, impossible(rows[name]))
        is_kept = is_kept.combine_chunks()
        delivered = _as_text(values.filter(is_kept))
        for row, text in zip(np.flatnonzero(is_kept), delivered, strict=True):
            texts.setdefault(int(row), {})[name] = text
    return keep(rows, texts)


def _as_text(values: pa.ChunkedArray) -> list[str]:
    """Values without nulls as text, bytes that are not UTF-8 as escapes such as `\\xff`."""
    try:
        texts: list[str] = pc.cast(values, pa.string()).to_pylist()
    except pa.ArrowException:  # bytes, lists and structs
        return [
            value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
            for value in values.to_pylist()
        ]
    return texts


def without_impossible(rows: pa.Table, names: Iterable[str]) -> pa.Table:
    """The rows with null for the impossible values of these columns, whose text is kept. Other columns may have any value."""
    for name in names:
        is_impossible = impossible(rows[name])
        if pc.any(is_impossible).as_py():
            before = rows[name]
            possible = pc.if_else(is_impossible, pa.scalar(None, before.type), before)
            rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), possible)
            rows = keep_lost(rows, {name: before})
    return _without_texts_of_values(rows)


def _without_texts_of_values(rows: pa.Table) -> pa.Table:
    """The rows without the kept texts of values that are not null."""
    texts = _texts(rows)
    names = {name for each in texts.values() for name in each} - {WHOLE_ROW}
    has_value = {name: rows[name].is_valid().to_numpy() for name in names}
    no_value = {
        row: {name: text for name, text in each.items() if name == WHOLE_ROW or not has_value[name][row]}
        for row, each in texts.items()
    }
    others = rows.select([name for name in rows.column_names if name != UNREADABLE.name])
    return keep(others, {row: each for row, each in no_value.items() if each})


def without_texts(rows: pa.Table, which: pa.ChunkedArray, names: Iterable[str]) -> pa.Table:
    """The rows, of which `which` are true without the kept texts of these columns. UNREADABLE stays a column."""
    hidden, without = {*np.flatnonzero(which).tolist()}, {*names}
    entries: list[list[tuple[str, str]] | None] = [None] * rows.num_rows
    for row, texts in _texts(rows).items():
        entries[row] = [each for each in texts.items() if row not in hidden or each[0] not in without] or None
    place = rows.column_names.index(UNREADABLE.name)
    return rows.set_column(place, UNREADABLE, pa.array(entries, UNREADABLE.type))


def keep(rows: pa.Table, texts: Mapping[int, Texts]) -> pa.Table:
    """The rows with these texts, by index of the row, in the column UNREADABLE. The first text for a column is kept."""
    if not texts:
        return rows
    before, others = _texts(rows), rows
    if UNREADABLE.name in rows.column_names:
        others = rows.drop_columns([UNREADABLE.name])
    entries: list[list[tuple[str, str]] | None] = [None] * rows.num_rows
    for row in before.keys() | texts.keys():
        earlier = before.get(row, {})
        entries[row] = list({**earlier, **texts.get(row, {}), **earlier}.items())
    return others.append_column(UNREADABLE, pa.array(entries, UNREADABLE.type))


def _texts(rows: pa.Table) -> dict[int, Texts]:
    """Index of an unreadable row → its texts."""
    if UNREADABLE.name not in rows.column_names:
        return {}
    column = rows[UNREADABLE.name].combine_chunks()
    places = np.flatnonzero(column.is_valid())
    return dict(zip(places.tolist(), map(dict, column.drop_null().to_pylist()), strict=True))


@dataclass(frozen=True)
class Found:
    """The unreadable values of a column: how many there are, and row index and text of the first one."""

    count: int
    row: int
    text: str


def found(rows: pa.Table) -> dict[str, Found]:
    """Column → its unreadable values."""
    all_found: dict[str, Found] = {}
    for row, texts in _texts(rows).items():
        for name, text in texts.items():
            first = all_found.get(name, Found(0, row, text))
            all_found[name] = replace(first, count=first.count + 1)
    return all_found


def readable(rows: pa.Table) -> pa.Table:
    """The rows all of whose values could be read, without the column UNREADABLE."""
    return rows.filter(pc.is_null(rows[UNREADABLE.name])).drop_columns([UNREADABLE.name])
