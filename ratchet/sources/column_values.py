"""Delivered columns, as text or as typed values, in the type that the use case declares.

A value is cast only if it survives: casting it back gives the delivered value. Others become unreadable, as text that cannot be
parsed does. Finer parts of a timestamp than microseconds are cut off, and a decimal becomes the nearest float.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.sources.csv_parsing import localized, parse, present
from ratchet.sources.unreadable import converted
from ratchet.use_case.contract import INSTANT

_WALL_CLOCK = pa.timestamp("us")


def values_of(delivered: pa.ChunkedArray, kind: pa.DataType, timezone: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The delivered values, with null for those that mean a missing one, and each as int64, float64, bool, string or INSTANT.

    The second is null where the first cannot be cast or parsed. Times without an offset are local in `timezone`; one that a
    jump to summer time skipped cannot be cast. A date is the time at which that local day begins.
    """
    given = delivered.cast(delivered.type.value_type) if pa.types.is_dictionary(delivered.type) else delivered
    if _is_bytes(given.type):
        return given, parse(converted(given, lambda values: values.cast(pa.string())), kind, timezone)
    if _is_text(given.type):
        text = given.cast(pa.string())
        return present(text), parse(text, kind, timezone)
    if pa.types.is_floating(given.type):
        given = pc.if_else(pc.is_nan(given), pa.scalar(None, given.type), given)
    try:
        return given, _cast(given, kind, timezone)
    except pa.ArrowNotImplementedError:
        return given, pa.chunked_array([pa.nulls(len(given), kind)])


def _is_bytes(kind: pa.DataType) -> bool:
    return any(
        each(kind)
        for each in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_binary_view,
        )
    )


def _is_text(kind: pa.DataType) -> bool:
    return any(each(kind) for each in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _cast(given: pa.ChunkedArray, kind: pa.DataType, timezone: str) -> pa.ChunkedArray:
    if pa.types.is_null(given.type) or given.type == kind:
        return given.cast(kind)
    if pa.types.is_timestamp(kind):
        return _instants(given, timezone)
    if pa.types.is_decimal(given.type):
        return converted(given, lambda values: values.cast(kind))
    if pa.types.is_floating(given.type) and pa.types.is_integer(kind):
        given = pc.if_else(pc.equal(given, pc.floor(given)), given, pa.scalar(None, given.type))
    return converted(given, partial(_surviving, kind=kind))


def _surviving(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The values as `kind`. Raises ArrowInvalid unless casting them back gives the same values."""
    result = values.cast(kind)
    if not result.cast(values.type).equals(values):
        raise pa.ArrowInvalid(f"{values.type} changed as {kind}")
    return result


def _instants(given: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    """Timestamps and dates as instants. Raises ArrowNotImplementedError for any other type: a number has no unit."""
    is_date = pa.types.is_date(given.type)
    if not is_date and not pa.types.is_timestamp(given.type):
        raise pa.ArrowNotImplementedError(f"{given.type} is no time")
    if not is_date and given.type.unit == "ns":
        given = pc.floor_temporal(given, unit="microsecond")
    if not is_date and given.type.tz:
        return converted(given, lambda values: values.cast(INSTANT))
    wall_clock = converted(given, lambda values: values.cast(_WALL_CLOCK)).to_numpy()
    return pa.chunked_array([localized(wall_clock, np.full(len(wall_clock), is_date), timezone)])
