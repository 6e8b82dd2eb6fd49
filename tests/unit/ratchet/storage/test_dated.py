"""What lies in a span of dates, whatever lies beside it."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ratchet.storage.date_folders import folder_dates
from ratchet.storage.dated import Dated, Part, computed_together, partitioned

DAYS = [date(2024, 2, 27) + timedelta(days=number) for number in range(5)]
PARTS = st.dictionaries(
    st.tuples(st.sampled_from(["", *map(str, DAYS)]), st.sampled_from(["one", "two", "\U0010fffe"])),
    st.sampled_from(["x", "y"]),
).map(lambda found: [(day, name, content) for (day, name), content in found.items()])
SPANS = st.tuples(st.none() | st.sampled_from(DAYS), st.sampled_from(DAYS))


def lying(parts: list[Part], first: date | None, last: date) -> set[Part]:
    """Those in the span, and those without a date."""
    return {part for part in parts if not part[0] or str(first or date.min) <= part[0] <= str(last)}


@given(one=PARTS, other=PARTS, span=SPANS)
def test_changes_with_what_lies_in_the_span_alone(one: list[Part], other: list[Part], span: tuple[date, date]) -> None:
    """Two are equal in a span if, and only if, the same parts lie in it, in whatever order they came."""
    same = lying(one, *span) == lying(other, *span)
    assert same == (Dated.of(one).within(*span) == Dated.of(other).within(*span))
    assert Dated.of(one).within(*span) == Dated.of(reversed(one)).within(*span)


@given(PARTS)
def test_knows_its_first_date(parts: list[Part]) -> None:
    """The earliest of those that have one."""
    assert Dated.of(parts).first == min((date.fromisoformat(day) for day, _, _ in parts if day), default=None)


def test_spans_reach_to_the_ends_of_the_calendar() -> None:
    """No date is too early or too late."""
    parts = Dated.of([(str(date.max), "late", "x"), (str(date.min), "early", "x")])
    assert parts.parts == parts.within(date.min, date.max)
    assert parts.within(None, date.max) != parts.within(None, date.min)


@given(first=st.dates(date(2023, 11, 1), date(2024, 3, 31)), length=st.integers(1, 200))
def test_old_months_are_one_partition_each(first: date, length: int) -> None:
    """Every day is in one partition, whose folder names it; whole months are one, but for the last two."""
    days = [first + timedelta(days=number) for number in range(length)]
    found = partitioned(days)
    assert days == [day for each in found for day in each.all]
    assert days == [day for each in found for day in folder_dates(f"{each.folder}/part.parquet")]
    assert len(found) == len({each.name for each in found})
    by_day = {each.first for each in found if each.first == each.last}
    last = days[-1].replace(day=1)
    for day in days:
        month = [other for other in days if (other.year, other.month) == (day.year, day.month)]
        is_whole = month[0].day == 1 and (month[-1] + timedelta(days=1)).day == 1
        is_old = day < (last - timedelta(days=1)).replace(day=1)
        assert (day not in by_day) == (is_whole and is_old)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_what_is_computed_together_has_no_hole(numbers: set[int]) -> None:
    """Some partitions of half a year, in groups of at most 31 consecutive days; none is left out."""
    everything = partitioned([date(2024, 1, 1) + timedelta(days=number) for number in range(201)])
    some = [everything[number % len(everything)] for number in sorted(numbers)]
    groups = [*computed_together({each.name: each for each in some}.values())]
    assert sorted({each.name for each in some}) == sorted(each.name for group in groups for each in group)
    for group in groups:
        days = [day for each in group for day in each.all]
        assert len(days) <= 31
        assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
