"""What lies in a span of dates, whatever lies beside it."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ratchet.storage.dated import Dated, Part

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
