"""Instants, periods and local time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ratchet.core.clock import FixedClock, Period, SystemClock, local_time, utc_time

ZONES = st.sampled_from(["America/New_York", "Australia/Adelaide", "Australia/Lord_Howe", "Europe/Dublin", "UTC"])
NAIVE = st.datetimes(datetime(1980, 1, 1), datetime(2037, 12, 31))  # noqa: DTZ001 - made aware where it is used
DAYS = st.dates(date(1980, 1, 1), date(2037, 12, 31))
NEW_YORK = "America/New_York"


def array(*instants: datetime | str | None) -> np.ndarray:
    return np.array(instants, "datetime64[us]")


class TestLocalTime:
    @given(instant=NAIVE, zone=ZONES)
    def test_agrees_with_the_standard_library(self, instant: datetime, zone: str) -> None:
        """Wall-clock time is what zoneinfo says, for any instant and zone."""
        expected = instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert expected == local_time(array(instant), zone)[0].item()

    def test_takes_any_shape_and_keeps_gaps(self) -> None:
        """NaT stays NaT, and an empty array empty."""
        assert np.isnat(local_time(array(None), NEW_YORK)).all()
        assert (0,) == local_time(array(), NEW_YORK).shape
        assert (2, 1) == local_time(array("2024-01-01", "2024-07-01").reshape(2, 1), NEW_YORK).shape


class TestUtcTime:
    @given(instant=NAIVE, zone=ZONES)
    def test_is_the_way_back_to_the_first_occurrence(self, instant: datetime, zone: str) -> None:
        """A local time that exists gives an instant with that local time, the earlier one when there are two."""
        wall_clock = local_time(array(instant), zone)
        found = utc_time(wall_clock, zone)
        assert wall_clock == local_time(found, zone)
        expected = wall_clock[0].item().replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC).replace(tzinfo=None)
        assert expected == found[0].item()

    @given(wall_clock=NAIVE, zone=ZONES)
    def test_a_time_that_no_clock_showed_is_nat(self, wall_clock: datetime, zone: str) -> None:
        """Only the hour that the clocks skip has no instant."""
        aware = wall_clock.replace(tzinfo=ZoneInfo(zone))
        exists = aware.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall_clock
        assert exists != np.isnat(utc_time(array(wall_clock), zone))[0]

    @pytest.mark.parametrize(
        ("wall_clock", "expected"),
        [
            ("2023-03-12T01:59:59", "2023-03-12T06:59:59"),
            ("2023-03-12T02:30:00", None),
            ("2023-03-12T03:00:00", "2023-03-12T07:00:00"),
            ("2023-11-05T01:30:00", "2023-11-05T05:30:00"),
            ("2023-11-05T02:00:00", "2023-11-05T07:00:00"),
            (None, None),
        ],
    )
    def test_where_the_clocks_change(self, wall_clock: str | None, expected: str | None) -> None:
        """In New York: the skipped hour has no instant, the repeated one is its first occurrence."""
        np.testing.assert_array_equal(array(expected), utc_time(array(wall_clock), NEW_YORK))


class TestPeriod:
    @given(first=DAYS, days=st.integers(1, 400), zone=ZONES)
    def test_dates_cover_it_without_gap(self, first: date, days: int, zone: str) -> None:
        """Its UTC dates are consecutive, the first holds its start and the last the instant before its end."""
        period = Period.between(first, first + timedelta(days=days), zone)
        dates = list(period.dates())
        assert dates == [dates[0] + timedelta(days=n) for n in range(len(dates))]
        assert period.start.date() == dates[0]
        assert (period.end - timedelta(microseconds=1)).date() == dates[-1]

    @given(first=DAYS, second=st.integers(1, 50), third=st.integers(1, 50), zone=ZONES)
    def test_periods_that_follow_one_another_touch(self, first: date, second: int, third: int, zone: str) -> None:
        """The end of one is the start of the next: no instant is in both or in neither."""
        middle = first + timedelta(days=second)
        assume(middle + timedelta(days=third) <= date(2038, 1, 1))
        before = Period.between(first, middle, zone)
        after = Period.between(middle, middle + timedelta(days=third), zone)
        assert before.end == after.start
        assert ZoneInfo(zone).fromutc(before.end.replace(tzinfo=ZoneInfo(zone))).date() == middle

    def test_is_of_local_days(self) -> None:
        """A day in New York begins five hours into the UTC day, and says so."""
        period = Period.between(date(2024, 1, 1), date(2024, 1, 2), NEW_YORK)
        assert "[2024-01-01T05:00:00+00:00, 2024-01-02T05:00:00+00:00)" == str(period)
        assert [date(2024, 1, 1), date(2024, 1, 2)] == list(period.dates())


def test_clocks() -> None:
    """A fixed clock stands; the system's is in UTC."""
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert at == FixedClock(at).now()
    assert timedelta() == SystemClock().now().utcoffset()
