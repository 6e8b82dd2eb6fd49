"""The runs of a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.core.schedule import first_ticks, latest_tick, longest_wait

TICK = timedelta(microseconds=1)
START = datetime(2023, 12, 30, tzinfo=UTC)
TIMES = st.builds(
    lambda length, beside: START + length + timedelta(microseconds=beside),
    st.timedeltas(timedelta(), timedelta(days=4)) | st.integers(0, 80).map(lambda hours: timedelta(hours=hours)),
    st.integers(-1, 1),
)


@pytest.mark.parametrize("cron", ["0 * * * *", "*/7 2,4 * * *", "30 3 * * 1", "* * * * *"])
@given(times=st.lists(st.none() | TIMES, max_size=30))
def test_the_first_run_is_the_next_one_or_now(cron: str, times: list[datetime | None]) -> None:
    """It is a run of the schedule, not before the instant, and no run lies between; without an instant there is none."""
    given_times = np.array([each and each.replace(tzinfo=None) for each in times], "datetime64[us]")
    found = [tick and tick.replace(tzinfo=UTC) for tick in first_ticks(cron, given_times).tolist()]
    assert [each is None for each in times] == [tick is None for tick in found]
    for instant, tick in zip(times, found, strict=True):
        if instant:
            assert latest_tick(cron, tick - TICK) < instant <= tick == latest_tick(cron, tick)


@pytest.mark.parametrize(
    ("cron", "wait"),
    [
        ("0 * * * *", timedelta(hours=1)),
        ("0 0 * * 1", timedelta(days=7)),
        ("0 0 1 * *", timedelta(days=31)),
        ("*/5 9-17 * * 1-5", timedelta(days=2, hours=15, minutes=5)),
    ],
)
def test_the_longest_wait_does_not_depend_on_the_instant(cron: str, wait: timedelta) -> None:
    """Also if there are many runs before the one that is followed by a pause."""
    assert [wait] * 3 == [longest_wait(cron, START + timedelta(days=days)) for days in (0, 2, 17)]
