"""A rate is never exceeded in its period, and never refused without need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.online.access.rates import Rate, TokenBucket


@pytest.mark.parametrize("text", ["", "0/s", "5", "5/d", "5/s ", "-1/s", "1.5/s", "12345678/s", "5/s/s", "٥/s"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate.parse(text)


def test_rates() -> None:
    assert [Rate(100, 1), Rate(600, 60), Rate(7, 3600)] == [Rate.parse(text) for text in ("100/s", "600/m", "7/h")]


gaps = st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60)


@given(count=st.integers(1, 20), seconds=st.sampled_from([1, 60]), workers=st.integers(1, 4), gaps=gaps)
def test_no_more_than_the_rate(count: int, seconds: float, workers: int, gaps: list[float]) -> None:
    """In any stretch of time, at most what is there at once, and what comes back in it; and a refusal says when it ends."""
    rate = Rate(count, seconds).shared_by(workers)
    bucket, now, taken = TokenBucket(rate), 1000.0, []
    for gap in gaps:
        now += gap
        wait = bucket.take(now)
        if wait:
            assert bucket.take(now + wait * 0.99) > 0
            assert 0 == bucket.take(now + wait)
            now += wait
        taken.append(now)
    at_once, per_second = max(rate.count, 1), rate.count / rate.seconds
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= at_once + (taken[last] - taken[first]) * per_second + 1e-6


def test_all_of_a_period_may_come_at_once() -> None:
    bucket = TokenBucket(Rate(3, 60))
    assert [0, 0, 0] == [bucket.take(5) for _ in range(3)]
    assert 20 == pytest.approx(bucket.take(5))
    assert 0 == bucket.take(25.001)
