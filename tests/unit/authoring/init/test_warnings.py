"""The notes of `ratchet init`: what was left out, and what may be wrong with what was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from authoring.init.answers import Answers
from authoring.init.baseline import Baseline
from authoring.init.warnings import weak_baseline
from tests.support.begun import RIDES, begun, facts_of, notes_of
from tests.support.csv_files import checkout, machines, rides
from tests.support.messages import missing

DECIDED: Any = SimpleNamespace(label=SimpleNamespace(name="bad"))
MACHINES = Answers(label="made", time="asked_at", known_at="done_at", timezone="UTC", entity=("machine",))


@pytest.mark.parametrize("by", [("hour", "weekday"), ()])
def test_a_baseline_of_chance_is_said_to_be_one(by: tuple[str, ...]) -> None:
    """With the columns that it groups by, or without any."""
    (note,) = weak_baseline("uc", DECIDED, Baseline(by, None, is_chance=True))
    assert [] == missing(note, "bad", "chance", *by)
    assert bool(by) == ("groups by" in note)
    assert [] == list(weak_baseline("uc", DECIDED, Baseline(by, None, is_chance=False)))


def test_named_entity_is_a_group_for_the_baseline(tmp_path: Path) -> None:
    """A number that names whom rows are about is grouped by, however many values it has."""
    said = begun(checkout(tmp_path), "factory", machines(tmp_path / "data.csv"), MACHINES)
    assert "machine" == facts_of(said)["baseline"]
    assert "chance" not in said


def test_baseline_that_explains_nothing_is_said(tmp_path: Path) -> None:
    """Where no group says more than chance, a note names the label and the line to change."""
    said = begun(checkout(tmp_path), "factory", machines(tmp_path / "data.csv", effect=0.0), MACHINES)
    (note,) = [note for note in notes_of(said) if "chance" in note]
    assert [] == missing(note, "made", "`baseline=`", "use_cases/factory/__init__.py")


def test_says_what_may_be_wrong(tmp_path: Path) -> None:
    """What was left out, labels that are missing, keys that repeat, and a column that gives the label away."""
    path = rides(checkout(tmp_path) / "rides.csv")
    lines = path.read_text().splitlines()
    doubled = [*lines, lines[1], f"{lines[2].rpartition(',')[0]},"]
    path.write_text("".join(f"{line},{'' if place else 'nothing'}\n" for place, line in enumerate(doubled)))
    notes = notes_of(begun(tmp_path, "rides", path, replace(RIDES, late=(), too_good="fares are fixed")))
    names = [
        ["left out", "nothing"],
        ["1 row", "minutes", "label"],
        ["2 rows", "ride_id", "quarantined"],
        ["asked_at", "zone, distance_km, class_, bike, fare", "--late"],
        ["fare", "minutes", "--late fare"],
    ]
    assert [[]] * 5 == [missing(note, *each) for note, each in zip(notes, names, strict=True)]


def test_finds_numbers_that_are_written_as_text(tmp_path: Path) -> None:
    """One cell makes a column of numbers one of names; codes, dates and words are text on purpose."""
    path = rides(checkout(tmp_path) / "rides.csv")
    first = {"load": "?", "rate": "5%", "code": "007", "day": "01/02/2024"}
    others = {"load": "3.5", "rate": "€ 1'000", "code": "012", "day": "01/02/2024"}
    names, *lines = path.read_text().splitlines()
    cells = [first, *[others] * (len(lines) - 1)]
    added = [f"{line},{','.join(row.values())}" for line, row in zip(lines, cells, strict=True)]
    path.write_text("\n".join([f"{names},{','.join(first)}", *added]) + "\n")
    notes = [note for note in notes_of(begun(tmp_path, "rides", path, RIDES)) if "text" in note]
    assert [[], []] == [
        missing(note, column, repr(first[column]), "row 1")
        for note, column in zip(notes, ("load", "rate"), strict=True)
    ]
