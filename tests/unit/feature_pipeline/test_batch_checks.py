"""Shifts of the hours of the day: what is one, on which clock, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipeline.batch_checks import repeated, shift_of_hours
from feature_pipeline.batch_statistics import HALF_HOURS, Hours, Times

RNG = np.random.default_rng(3)
EVENING = np.exp(-(((np.arange(HALF_HOURS) - 36) / 6) ** 2))
WINTER, SUMMER = -5, -4
"""Hours from UTC to the local time of New York."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test has the same random numbers, whichever ran before."""
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


def month(
    rows: int = 2000, offset: int = WINTER, moved: float = 0, weekday: int | None = None, *, follows_utc: bool = False
) -> Times:
    """A batch with most rows in the evening of the local day, or of the UTC day, all `moved` later."""
    counts = RNG.multinomial(rows, EVENING / EVENING.sum())
    local = np.roll(counts, int(2 * moved) + (2 * offset if follows_utc else 0))
    utc = np.roll(local, -2 * offset)
    until = datetime(2024, 1, 1, tzinfo=UTC)
    return Times(days=30, until=until, weekday=weekday, local=hours(local), utc=hours(utc))


def hours(counts: npt.NDArray[np.int64], first: int = 0, spanned: int = 30 * HALF_HOURS) -> Hours:
    return Hours(counts=tuple(counts.tolist()), first=first, spanned=spanned)


def until_half_hour(last: int, day: Times) -> Times:
    """The batch of a day, delivered before the day is over."""
    cut = {
        clock: hours(np.where(np.arange(HALF_HOURS) < last, of.counts, 0), spanned=last)
        for clock, of in (("local", day.local), ("utc", day.local))
    }
    return day.model_copy(update=cut)


@pytest.mark.parametrize("hours", [*range(-11, 0), *range(1, 13), 1.5, -5.5])
def test_a_shift_is_found_with_its_size_and_side(hours: float) -> None:
    """Of an hour or more, both ways round the clock, in half hours."""
    assert hours == shift_of_hours(month(moved=hours), [month() for _ in range(3)])


@pytest.mark.parametrize("follows_utc", [False, True])
@pytest.mark.parametrize(("before", "after"), [(WINTER, SUMMER), (SUMMER, WINTER)])
def test_a_change_of_the_clocks_is_no_shift(before: int, after: int, *, follows_utc: bool) -> None:
    """Neither where people come by local time, nor where a system runs by UTC; in the first months after it and later."""
    months = [month(offset=before, follows_utc=follows_utc) for _ in range(3)]
    for _ in range(3):
        months.append(month(offset=after, follows_utc=follows_utc))
        assert abs(shift_of_hours(months[-1], months[:-1])) < 1


def test_across_a_change_of_the_clocks_a_shift_is_found() -> None:
    """As soon as earlier batches show which clock they follow; a larger one at once."""
    mixed = [month(offset=WINTER), month(offset=WINTER), month(offset=SUMMER)]
    assert 1 == shift_of_hours(month(offset=SUMMER, moved=1), mixed)
    assert 3 <= shift_of_hours(month(offset=SUMMER, moved=4), mixed[:2]) <= 4


def test_hours_that_are_all_alike_show_no_shift() -> None:
    """A row for every half-hour says nothing about a shift."""
    even = hours(np.full(HALF_HOURS, 40))
    flat = month().model_copy(update={"local": even, "utc": even})
    assert 0 == shift_of_hours(flat, [flat, flat])


@pytest.mark.parametrize("last", range(20, HALF_HOURS + 1, 4))
def test_a_day_that_is_not_over_is_no_shift(last: int) -> None:
    """A file of today grows: it lacks the later hours, but those that it has are as usual."""
    days = [until_half_hour(HALF_HOURS, month(weekday=0)) for _ in range(3)]
    today = until_half_hour(last, month(weekday=0))
    assert 0 == shift_of_hours(today, days)
    late = {
        "local": hours(np.roll(today.local.counts, 4), 4, last),
        "utc": hours(np.roll(today.utc.counts, 4), 4, last),
    }
    assert 0 <= shift_of_hours(today.model_copy(update=late), days) <= 2


def test_rows_of_one_time_a_day_are_found_at_another() -> None:
    """A day of which nothing was usual in the half-hour that it covers is not one that is cut off."""
    counts = np.zeros(HALF_HOURS, np.int64)
    counts[18] = 100
    usual = month().model_copy(update={"local": hours(counts, 18, 1), "utc": hours(np.roll(counts, 10), 28, 1)})
    moved = {"local": hours(np.roll(counts, 10), 28, 1), "utc": hours(np.roll(counts, 20), 38, 1)}
    assert 5 == shift_of_hours(usual.model_copy(update=moved), [usual, usual])


@given(st.lists(st.integers(0, 500), min_size=HALF_HOURS, max_size=HALF_HOURS).filter(any), st.integers(1, 60))
def test_what_is_as_usual_is_no_shift(counts: list[int], spanned: int) -> None:
    """Whatever is usual, and however much of it a batch covers."""
    usual = month().model_copy(update=dict.fromkeys(("local", "utc"), hours(np.array(counts), 0, HALF_HOURS)))
    covered = hours(np.ones(HALF_HOURS, np.int64), 0, spanned).covered
    part = hours((np.array(counts) * np.minimum(covered, 1)).astype(np.int64), 0, spanned)
    batch = usual.model_copy(update={"local": part, "utc": part})
    assert 0 == shift_of_hours(batch, [usual] * 2)


@pytest.mark.parametrize("rows", [100, 220, 1000])
def test_hours_that_differ_by_chance_show_no_shift(rows: int) -> None:
    """Days whose rows come at any hour, each compared with only two others, as a folder of small daily files has at first."""

    def day() -> Times:
        counts = hours(RNG.multinomial(rows, np.full(HALF_HOURS, 1 / HALF_HOURS)), 0, HALF_HOURS)
        return month(weekday=0).model_copy(update={"local": counts, "utc": counts})

    assert [0] * 100 == [shift_of_hours(day(), [day(), day()]) for _ in range(100)]


@pytest.mark.parametrize("rows", [65, 220, 1100])
@pytest.mark.parametrize("together", [2, 5, 10])
def test_rows_that_come_together_are_less_evidence(rows: int, together: int) -> None:
    """Days of orders of several rows each: hardly any is refused, though a day has few; what is moved by far is found."""

    def day(moved: int = 0) -> Times:
        counts = hours(np.roll(RNG.multinomial(rows // together, EVENING / EVENING.sum()) * together, 2 * moved), 0, 48)
        return month(weekday=0).model_copy(update={"local": counts, "utc": counts})

    found = [shift_of_hours(day(), [day() for _ in range(4)]) for _ in range(100)]
    assert 2 >= sum(abs(each) >= 2 for each in found)
    if rows // together >= 100:
        assert 7 <= shift_of_hours(day(8), [day() for _ in range(4)]) <= 9


@pytest.mark.parametrize("rows", [65, 220, 1100])
def test_an_event_is_no_shift(rows: int) -> None:
    """A quarter of the rows come within one half-hour, which no day has had before."""
    day, event = month(rows, weekday=0), np.zeros(HALF_HOURS, np.int64)
    for half_hour in range(HALF_HOURS):
        event = np.array(day.local.counts)
        event[half_hour] += rows // 3
        counts = hours(event, 0, HALF_HOURS)
        batch = day.model_copy(update={"local": counts, "utc": counts})
        assert abs(shift_of_hours(batch, [month(rows, weekday=0) for _ in range(4)])) < 2


def test_few_rows_are_no_evidence() -> None:
    """Ten rows that came an hour later may have done so by chance."""
    assert 0 == shift_of_hours(month(rows=10, moved=1), [month(), month()])


def test_days_are_compared_with_the_same_weekday() -> None:
    """On a Sunday people come later than on a Monday."""
    mondays, sunday = [month(weekday=0) for _ in range(3)], month(weekday=6, moved=2)
    assert 0 == shift_of_hours(sunday, mondays)
    assert 2 == shift_of_hours(sunday, [month(weekday=6) for _ in range(2)])


@pytest.mark.parametrize(
    ("keys_of", "expected"),
    [({}, None), ({"a": 5, "b": 4}, None), ({"a": 6, "b": 4}, "a"), ({"a": 1, "b": 10}, "b")],
)
def test_a_batch_repeats_the_one_that_has_most_of_its_keys(keys_of: dict[str, int], expected: str | None) -> None:
    """More than half of the rows must be of one batch: a file of everything so far repeats none."""
    assert expected == repeated(keys_of, 10)
