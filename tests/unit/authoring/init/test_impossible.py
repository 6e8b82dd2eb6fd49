"""What `ratchet init` makes of cells that cannot be: a few are noted and quarantined, many are refused by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from authoring.init.answers import UnansweredError
from ratchet.core.errors import RatchetError, SourceError
from tests.support.begun import RIDES, TIMED_RIDES, begun, facts_of, notes_of
from tests.support.csv_files import checkout, rides, rides_with
from tests.support.messages import missing


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of rides without a bad cell."""
    folder = checkout(tmp_path_factory.mktemp("clean"))
    return begun(folder, "rides", rides(folder / "data.csv"), TIMED_RIDES)


@pytest.mark.parametrize("text", ["inf", "-inf", "Infinity", "1e999"])
@pytest.mark.parametrize(("header", "column"), [("Distance (km)", "distance_km"), ("bike", "bike")])
def test_many_infinite_values_are_refused_by_name(tmp_path: Path, header: str, column: str, text: str) -> None:
    """Where a third of a feature is infinite, the column, how often and what to do are said, and nothing is written."""
    csv = rides_with(tmp_path / "data.csv", header, dict.fromkeys(range(0, 3000, 3), text))
    with pytest.raises(SourceError) as raised:
        begun(checkout(tmp_path), "rides", csv, TIMED_RIDES)
    assert str(csv) == raised.value.subject
    assert [] == missing(raised.value, column, "infinite", "1,000 of 3,000 rows", "empty")
    assert not (tmp_path / "use_cases").exists()


def test_few_infinite_values_are_quarantined(tmp_path: Path) -> None:
    """A note counts them, and what is reckoned from the others is finite: the pipeline quarantines such rows by itself."""
    csv = rides_with(tmp_path / "data.csv", "Distance (km)", {5: "inf", 900: "-inf", 901: "1e999", 902: "nan"})
    said = begun(checkout(tmp_path), "rides", csv, TIMED_RIDES)
    text = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "use_cases" / "rides").iterdir())
    (note,) = [note for note in notes_of(said) if "infinite" in note]
    assert [] == missing(note, "distance_km", "3 rows", "quarantined")
    assert not {"inf", "nan"} & set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("column", "kind", "names"),
    [
        ("minutes", UnansweredError, ["minutes", "infinite", "1 row"]),
        ("asked_at", SourceError, ["asked_at", "'inf'", "row 8"]),
    ],
)
def test_infinite_label_or_time_is_refused_by_name(
    tmp_path: Path, column: str, kind: type[RatchetError], names: Sequence[str]
) -> None:
    """No number can be learned from it, and it is no time."""
    csv = rides_with(tmp_path / "data.csv", column, {7: "inf"})
    with pytest.raises(kind) as raised:
        begun(checkout(tmp_path), "rides", csv, TIMED_RIDES)
    assert [] == missing(raised.value, *names)


def test_infinite_text_is_a_text(tmp_path: Path, clean: str) -> None:
    """In a column of names it is one of them, and nothing is noted."""
    csv = rides_with(tmp_path / "data.csv", "zone", {7: "inf"})
    assert notes_of(clean) == notes_of(begun(checkout(tmp_path), "rides", csv, TIMED_RIDES))


@pytest.mark.parametrize("column", ["asked_at", "ended_at"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00", "1900-01-01", "9999-12-31T23:59:59"])
def test_time_of_another_century_is_quarantined(tmp_path: Path, column: str, text: str, clean: str) -> None:
    """A note counts it, no other does, and neither the windows nor the delay follow from it."""
    said = begun(checkout(tmp_path), "rides", rides_with(tmp_path / "data.csv", column, {5: text}), TIMED_RIDES)
    (note,) = [note for note in notes_of(said) if note not in notes_of(clean)]
    assert [] == missing(note, column, "1970", "2100", "1 row", "quarantined")
    assert delay_and_windows(clean) == delay_and_windows(said)


@pytest.mark.parametrize(
    ("column", "text", "names"),
    [
        ("asked_at", "1998-03-01T08:00:00", ["asked_at", "1 row", "1998-03-01", "window"]),
        ("asked_at", "2034-03-01T08:00:00", ["asked_at", "1 row", "2034-03-01", "window"]),
        ("ended_at", "2043-03-01T08:00:00", ["ended_at", "1 row", "asked_at", "2h", "`delay='2h'`"]),
    ],
)
def test_one_absurd_time_decides_nothing(
    tmp_path: Path, column: str, text: str, names: Sequence[str], clean: str
) -> None:
    """Of this century or the last, a note names it, and windows and delay are those of the other rows."""
    said = begun(checkout(tmp_path), "rides", rides_with(tmp_path / "data.csv", column, {1500: text}), TIMED_RIDES)
    assert [] in [missing(note, *names) for note in notes_of(said)]
    assert delay_and_windows(clean) == delay_and_windows(said)


def delay_and_windows(said: str) -> list[str]:
    """What was said of them, without the number of rows."""
    facts = facts_of(said)
    return [facts["predicts"], facts["trains"], facts["judges"].rpartition(":")[0]]


def test_times_that_are_mostly_of_another_century_are_refused(tmp_path: Path) -> None:
    """They stand for something, such as for an outcome that is not known yet, which is an empty cell."""
    csv = rides_with(tmp_path / "data.csv", "ended_at", dict.fromkeys(range(0, 3000, 10), "9999-12-31"))
    with pytest.raises(SourceError) as raised:
        begun(checkout(tmp_path), "rides", csv, TIMED_RIDES)
    assert [] == missing(raised.value, "ended_at", "1970", "2100", "300 of 3,000 rows", "empty")


@pytest.mark.parametrize(
    "changes",
    [{"time": "asked_at"}, {"time": "", "known_at": "ended_at"}, {"time": "ended_at", "known_at": "asked_at"}],
)
def test_bad_cell_among_times_is_named(tmp_path: Path, changes: dict[str, str]) -> None:
    """Rather than another column, which would be asked for in its place."""
    cell = '2024-03-01T06:08:00"left at door"'
    csv = rides_with(tmp_path / "data.csv", "asked_at", {7: cell})
    with pytest.raises(SourceError) as raised:
        begun(checkout(tmp_path), "rides", csv, replace(RIDES, **changes))
    assert [] == missing(raised.value, "asked_at", repr(cell), "row 8", "cell")
