"""Typed columns are cast where every value survives; a value that does not is null, and counts as unreadable."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.sources.column_values import values_of
from ratchet.sources.unreadable import keep_lost
from ratchet.use_case.contract import INSTANT

NOON = datetime.fromisoformat("2024-07-01T12:00")
UTC_NOON = NOON.replace(tzinfo=UTC)
NAN = float("nan")


def read(values: list[Any], given: pa.DataType, kind: pa.DataType) -> tuple[list[Any], list[str | None]]:
    """The values as `kind`, and the text of each that is unreadable; times are local in Berlin."""
    delivered, found = values_of(pa.chunked_array([pa.array(values, given)]), kind, "Europe/Berlin")
    assert kind == found.type
    rows = keep_lost(pa.table({"a": found}), {"a": delivered})
    texts = rows["unreadable"].to_pylist() if "unreadable" in rows.column_names else [None] * len(rows)
    return rows["a"].to_pylist(), [dict(text)["a"] if text else None for text in texts]


@pytest.mark.parametrize(
    ("values", "given", "kind", "expected"),
    [
        ([1, None], pa.int32(), pa.int64(), [1, None]),
        ([3.0, NAN, None], pa.float64(), pa.int64(), [3, None, None]),
        ([7, 2**53], pa.int64(), pa.float64(), [7.0, 2.0**53]),
        ([1.5, NAN], pa.float32(), pa.float64(), [1.5, None]),
        ([1.5, NAN], pa.float64(), pa.float64(), [1.5, None]),
        ([Decimal("0.10"), None], pa.decimal128(5, 2), pa.float64(), [0.1, None]),
        ([Decimal("7.00")], pa.decimal128(5, 2), pa.int64(), [7]),
        ([0, 1], pa.int8(), pa.bool_(), [False, True]),
        ([True, None], pa.bool_(), pa.int64(), [1, None]),
        ([7, None], pa.int64(), pa.string(), ["7", None]),
        (["a", "", None], pa.large_string(), pa.string(), ["a", "", None]),
        (["a", "b", "a"], pa.dictionary(pa.int32(), pa.string()), pa.string(), ["a", "b", "a"]),
        ([b"a", None], pa.binary(), pa.string(), ["a", None]),
        ([" 7 ", "NA", "3.0"], pa.string(), pa.int64(), [7, None, 3]),
        (["2024-07-01"], pa.string(), INSTANT, [datetime(2024, 6, 30, 22, tzinfo=UTC)]),
        ([None, None], pa.null(), INSTANT, [None, None]),
        ([NOON, None], pa.timestamp("s"), INSTANT, [datetime(2024, 7, 1, 10, tzinfo=UTC), None]),
        ([UTC_NOON], pa.timestamp("ms", "Asia/Tokyo"), INSTANT, [UTC_NOON]),
        ([1_719_835_200_000_000_999], pa.timestamp("ns", "UTC"), INSTANT, [UTC_NOON]),
        ([date(2024, 7, 1)], pa.date32(), INSTANT, [datetime(2024, 6, 30, 22, tzinfo=UTC)]),
    ],
)
def test_values_that_survive(values: list[Any], given: pa.DataType, kind: pa.DataType, expected: list[Any]) -> None:
    """Are the same in another type, a missing value null."""
    assert (expected, [None] * len(values)) == read(values, given, kind)


@pytest.mark.parametrize(
    ("good", "bad", "given", "kind", "text"),
    [
        (3.0, 3.5, pa.float64(), pa.int64(), "3.5"),
        (3.0, 1e300, pa.float64(), pa.int64(), "1e+300"),
        (3, 2**64 - 1, pa.uint64(), pa.int64(), "18446744073709551615"),
        (3, 2**53 + 1, pa.int64(), pa.float64(), "9007199254740993"),
        (1, 5, pa.int64(), pa.bool_(), "5"),
        (Decimal("3.00"), Decimal("3.50"), pa.decimal128(5, 2), pa.int64(), "3.50"),
        (b"a", b"J\xf6rg", pa.binary(), pa.string(), "J\\xf6rg"),
        ("a", "a\0b", pa.string(), pa.string(), "a\0b"),
        ("7", "7,5", pa.large_string(), pa.float64(), "7,5"),
        (NOON, datetime.fromisoformat("2024-03-31T02:30"), pa.timestamp("us"), INSTANT, "2024-03-31 02:30:00.000000"),
        (NOON, datetime.fromisoformat("9999-12-31"), pa.timestamp("us"), INSTANT, "9999-12-31 00:00:00.000000"),
    ],
)
def test_a_value_that_does_not_survive(good: Any, bad: Any, given: pa.DataType, kind: pa.DataType, text: str) -> None:
    """Is kept as text, and its neighbours are read."""
    (first, found, last), texts = read([good, bad, good], given, kind)
    assert (first, [None, text, None]) == (last, texts)
    assert first is not None
    assert found is None or kind == INSTANT


@pytest.mark.parametrize(
    ("values", "given", "kind"),
    [
        ([1_719_835_200], pa.int64(), INSTANT),
        ([{"a": 1}], pa.struct({"a": pa.int64()}), pa.string()),
        ([[1]], pa.list_(pa.int64()), pa.int64()),
        ([NOON], pa.timestamp("us"), pa.bool_()),
        ([NOON], pa.timestamp("us"), pa.float64()),
    ],
)
def test_a_column_of_a_type_without_a_cast(values: list[Any], given: pa.DataType, kind: pa.DataType) -> None:
    """Is unreadable, value by value: a number says no time, because its unit is not known."""
    found, texts = read([*values, None], given, kind)
    assert [None, None] == found
    assert [True, False] == [text is not None for text in texts]


@given(st.lists(st.none() | st.floats(width=32) | st.integers(-(2**60), 2**60).map(float), min_size=1))
def test_no_value_changes(values: list[float | None]) -> None:
    """An integer that was read from a number is that number, and every other number is kept as text or means a missing one."""
    found, texts = read(values, pa.float64(), pa.int64())
    for value, integer, text in zip(values, found, texts, strict=True):
        if integer is not None:
            assert (value, None) == (float(integer), text)
        else:
            assert (text is None) == (value is None or math.isnan(value))
