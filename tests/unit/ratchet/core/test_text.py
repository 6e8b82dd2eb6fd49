"""Texts that people read at a glance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.core.text import one_line, spans


@given(text=st.text(), limit=st.integers(1, 50))
def test_a_line_is_one_line_and_no_longer_than_its_limit(text: str, limit: int) -> None:
    """Whatever separates the words, and however many there are."""
    line = one_line(text, limit)
    assert len(line) <= limit
    assert [line] == (line.splitlines() or [""])


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [("a\n  b\tc", 5, "a b c"), ("a\n  b\tcd", 5, "a b …"), ("a" * 9, 4, "aaa…"), ("", 4, "")],
)
def test_what_does_not_fit_is_left_out(text: str, limit: int, line: str) -> None:
    """The beginning stays, and it is shown that there is more."""
    assert line == one_line(text, limit)


def test_consecutive_dates_are_one_span() -> None:
    """Across the ends of months; other names stay as they are."""
    names = ["2024-02-28", "2024-03-01", "2024-02-29", "2024-03-03", "static", "week-004"]
    assert ["2024-02-28 to 2024-03-01", "2024-03-03", "static", "week-004"] == spans(names)
    assert [] == spans([])
