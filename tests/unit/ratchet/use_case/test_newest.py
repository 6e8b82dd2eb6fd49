"""The newest state of something: one row for each key at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ratchet.use_case.newest import newest

START, WITHIN = datetime(2024, 1, 1, tzinfo=UTC), timedelta(hours=6)
SCHEMA = pa.schema({"key": pa.string(), "at": pa.timestamp("us", "UTC"), "row_available_at": pa.timestamp("us", "UTC")})
Row = tuple[str, int, int | None]
"""A key, and the hours of the event and of when it became available."""
ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.none() | st.integers(0, 30)),
    unique_by=lambda row: row[:2],
)


def found(rows: list[Row]) -> list[Row]:
    times = [(key, hour(at), hour(available)) for key, at, available in rows]
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in times], SCHEMA)
    kept = newest(ibis.memtable(table), ("key",), "at", within=WITHIN).to_pyarrow().to_pylist()
    return sorted((row["key"], hours(row["at"]), hours(row["row_available_at"])) for row in kept)


def hour(hours: int | None) -> datetime | None:
    return None if hours is None else START + timedelta(hours=hours)


def hours(time: datetime) -> int:
    return int((time - START) / timedelta(hours=1))


@given(ROWS)
def test_are_those_than_which_none_newer_was_available(rows: list[Row]) -> None:
    """Within the last hours; a row that is not available yet is none, and keys do not meddle with each other."""
    there = [row for row in rows if row[2] is not None]
    expected = [
        (key, at, available)
        for key, at, available in there
        if not any(other == key and at < later and available - 6 <= came <= available for other, later, came in there)
    ]
    assert sorted(expected) == found(rows)
    assert len({(key, available) for key, _, available in expected}) == len(expected)


def test_several_that_come_together_are_one() -> None:
    """Such as the days of a week that were delivered at once: the last of them."""
    assert [("a", 3, 9)] == found([("a", 1, 9), ("a", 3, 9), ("a", 2, 9)])
