"""Progress of a long step: a line that is updated on a terminal, now and then a line elsewhere, and nothing unasked."""

from __future__ import annotations

import io

import pytest

from ratchet.core.progress import counted, report, show_progress


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Seconds:
    """A clock that goes on by some seconds whenever it is read."""

    def __init__(self, step: float = 1) -> None:
        self._now, self._step = 0.0, step

    def __call__(self) -> float:
        self._now += self._step
        return self._now


def test_nothing_is_shown_unasked(capfd: pytest.CaptureFixture[str]) -> None:
    """A step that reports in a flow or a test writes nothing."""
    assert ["a", "b"] == list(counted(["a", "b"], "units", 2))
    assert ("", "") == capfd.readouterr()


def test_a_file_gets_a_line_now_and_then() -> None:
    """Of a hundred reports in a hundred seconds a few become whole lines, with name, count and seconds."""
    stream = io.StringIO()
    with show_progress("train", stream, Seconds()):
        for tree in range(100):
            report("trees so far", tree + 1)
    lines = stream.getvalue().splitlines()
    assert 2 < len(lines) < 10
    assert ["train", "trees", "so", "far:", "15", "(15", "s)"] == lines[0].split()
    assert "\r" not in stream.getvalue()


def test_a_quick_step_shows_nothing_in_a_file() -> None:
    """A log is not filled with steps that end at once."""
    stream = io.StringIO()
    with show_progress("ingest", stream):
        report("raw", 1, 4)
    assert "" == stream.getvalue()


def test_a_terminal_has_one_line_that_ends_empty() -> None:
    """Each report takes the place of the one before, and of the last one nothing stays."""
    stream = Terminal()
    with show_progress("validate", stream, Seconds()):
        list(counted("abc", "quarantine", 3))
    *_, last, cleared = stream.getvalue().split("\r\x1b[K")
    assert "\n" not in stream.getvalue()
    assert "quarantine: 3 of 3" in last
    assert "" == cleared


def test_the_line_is_gone_when_a_step_fails() -> None:
    """The error does not stand behind a line of progress."""
    stream = Terminal()
    with pytest.raises(ValueError, match="broken"), show_progress("train", stream):
        raise ValueError("broken")
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_line_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer one would wrap, and could not be taken back."""
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with show_progress("featurize", stream, Seconds()):
        report("a-view-with-a-very-long-name-and-a-fingerprint", 1, 2)
    assert all(len(line) < 40 for line in stream.getvalue().split("\r\x1b[K"))


def test_counted_passes_all_items_on_and_stops_with_its_reader() -> None:
    """Only what was dealt with is counted."""
    stream = io.StringIO()
    with show_progress("ingest", stream, Seconds(20)):
        items = counted("abc", "raw", 3)
        assert "a" == next(items)
        assert "b" == next(items)
    assert "raw: 1 of 3" in stream.getvalue().splitlines()[-1]
