"""Progress of a long step: a line that is updated on a terminal, now and then a line elsewhere, and nothing unasked."""

from __future__ import annotations

import io

import pytest

from ratchet.core.progress import Progress, counted, report, show_line, show_progress


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
    with show_line("train", stream, Seconds()):
        for tree in range(100):
            report("trees so far", tree + 1)
    lines = stream.getvalue().splitlines()
    assert 2 < len(lines) < 10
    assert ["train", "trees", "so", "far:", "15", "(15", "s)"] == lines[0].split()
    assert "\r" not in stream.getvalue()


def test_a_quick_step_shows_nothing_in_a_file() -> None:
    """A log is not filled with steps that end at once."""
    stream = io.StringIO()
    with show_line("ingest", stream):
        report("raw", 1, 4)
    assert "" == stream.getvalue()


def test_a_terminal_has_one_line_that_ends_empty() -> None:
    """Each report takes the place of the one before, and of the last one nothing stays."""
    stream = Terminal()
    with show_line("validate", stream, Seconds()):
        list(counted("abc", "quarantine", 3))
    *_, last, cleared = stream.getvalue().split("\r\x1b[K")
    assert "\n" not in stream.getvalue()
    assert "quarantine: 3 of 3" in last
    assert "" == cleared


def test_the_line_is_gone_when_a_step_fails() -> None:
    """The error does not stand behind a line of progress."""
    stream = Terminal()
    with pytest.raises(ValueError, match="broken"), show_line("train", stream):
        raise ValueError("broken")
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_line_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer one would wrap, and could not be taken back."""
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with show_line("featurize", stream, Seconds()):
        report("a-view-with-a-very-long-name-and-a-fingerprint", 1, 2)
    assert all(len(line) < 40 for line in stream.getvalue().split("\r\x1b[K"))


def shown(*reports: tuple[str, int, int | None], seconds: float) -> list[str]:
    """What a terminal shows of each report, apart from the name, if this many seconds lie between two of them."""
    stream = Terminal()
    with show_line("step", stream, Seconds(seconds)):
        for what, done, total in reports:
            report(what, done, total)
    return [line.removeprefix("step").strip() for line in stream.getvalue().split("\r\x1b[K")[2:-1]]


def test_the_time_left_follows_from_the_pace_so_far() -> None:
    """Ten seconds an item: 30 seconds for three more. While nothing has been processed there is no pace."""
    lines = shown(("raw", 0, 4), ("raw", 1, 4), ("raw", 2, 4), ("raw", 4, 4), seconds=10)
    assert ["raw: 0 of 4 (10 s)", "raw: 1 of 4, 30 s left (20 s)", "raw: 2 of 4, 20 s left (30 s)"] == lines[:3]
    assert "raw: 4 of 4, 0 s left (40 s)" == lines[3]


def test_nothing_is_estimated_in_the_first_two_seconds() -> None:
    """A pace of moments says little."""
    lines = shown(*(("raw", done, 100) for done in range(5)), seconds=0.9)
    assert [False, False, False, True, True] == ["left" in line for line in lines]


def test_each_count_has_a_pace_of_its_own() -> None:
    """That of the count before it, or of the same one begun again, says nothing about it."""
    lines = shown(("raw", 0, 2), ("raw", 2, 2), ("accepted", 0, 9), ("accepted", 3, 9), ("accepted", 0, 9), seconds=10)
    assert "accepted: 0 of 9 (30 s)" == lines[2]
    assert "accepted: 3 of 9, 20 s left (40 s)" == lines[3]
    assert "accepted: 0 of 9 (50 s)" == lines[4]


def test_without_a_total_nothing_is_estimated() -> None:
    """Nobody knows how many trees are still to come."""
    assert ["trees: 1 (10 s)", "trees: 2 (20 s)"] == shown(("trees", 1, None), ("trees", 2, None), seconds=10)


@pytest.mark.parametrize(("total", "left"), [(12, "110 s left"), (301, "50 min left"), (2161, "6 h left")])
def test_a_long_time_is_said_roughly(total: int, left: str) -> None:
    """In seconds, minutes or hours."""
    lines = shown(("rows", 0, total), ("rows", 1, total), seconds=10)
    assert left in lines[1]


def test_any_function_can_show_the_progress() -> None:
    """It gets what is counted, how many are done, and of how many; after the block it gets nothing more."""
    seen: list[Progress] = []
    with show_progress(seen.append):
        list(counted("ab", "raw", 2))
    report("raw", 3, 3)
    assert [Progress("raw", done, 2) for done in range(3)] == seen
    assert "raw: 1,234" == str(Progress("raw", 1234))


def test_counted_passes_all_items_on_and_stops_with_its_reader() -> None:
    """Only what was dealt with is counted."""
    stream = io.StringIO()
    with show_line("ingest", stream, Seconds(20)):
        items = counted("abc", "raw", 3)
        assert "a" == next(items)
        assert "b" == next(items)
    assert "raw: 1 of 3" in stream.getvalue().splitlines()[-1]
