"""Which rows of an expression may use which source rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.core.clock import Period
from ratchet.features.expressions import CompiledExpression

ROWS = ibis.table({"a": "int64"}, name="rows")
FIRST, HOUR = datetime(2024, 1, 10, tzinfo=UTC), timedelta(hours=1)
COMPUTED = Period(FIRST, FIRST + 48 * HOUR)


def hours(start: int, end: int) -> Period:
    return Period(FIRST + start * HOUR, FIRST + end * HOUR)


@pytest.mark.parametrize(
    ("lookback", "lookahead", "sources", "expected"),
    [
        (5, 0, hours(10, 20), hours(10, 25)),
        (0, 3, hours(10, 20), hours(7, 20)),
        (None, 0, hours(10, 20), hours(10, 48)),
        (None, 0, hours(-90, -80), hours(0, 48)),
        (5, 0, hours(-9, -4), hours(0, 1)),
        (5, 0, hours(-9, -5), None),
        (5, 0, hours(48, 60), None),
        (5, 9, hours(-9, 60), hours(0, 48)),
    ],
)
def test_rows_that_use_a_period(lookback: int | None, lookahead: int, sources: Period, expected: Period | None) -> None:
    """From the period's start, or so much earlier as rows look ahead, to so long after its end as they look back."""
    back = None if lookback is None else lookback * HOUR
    assert expected == CompiledExpression(ROWS, back, lookahead * HOUR).using(sources, COMPUTED)


@given(
    row=st.integers(0, 47),
    source=st.integers(-60, 60),
    starts=st.integers(-60, 59),
    length=st.integers(1, 60),
    reach=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_every_row_that_may_use_one_is_among_them(
    row: int, source: int, starts: int, length: int, reach: tuple[int, int]
) -> None:
    """A row that may use a source row of the period lies in the part that is named."""
    back, ahead = reach
    if starts <= source < starts + length and source - ahead <= row <= source + back:
        found = CompiledExpression(ROWS, back * HOUR, ahead * HOUR).using(hours(starts, starts + length), COMPUTED)
        assert found
        assert found.start <= FIRST + row * HOUR < found.end
