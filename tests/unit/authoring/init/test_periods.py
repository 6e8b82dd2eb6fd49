"""The windows that `ratchet init` chooses, and the files that are too small for any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.csv
import pytest

from authoring.init.answers import Answers
from authoring.init.plan import plan
from authoring.init.profile import Profile
from authoring.init.questions import decide
from ratchet.core.errors import SettingsError
from tests.support.begun import TIMED_RIDES, begun, notes_of, project_of
from tests.support.csv_files import checkout, rides, write_csv
from tests.support.messages import missing
from tests.support.trips import GIVEN, ROWS, TRIPS, profile

ONE_DAY = {"asked_at": ["2024-01-01"] * ROWS, "ended_at": ["2024-01-02"] * ROWS}


@pytest.mark.parametrize(
    ("found", "answers", "names"),
    [
        pytest.param(
            profile({name: cells[:150] for name, cells in TRIPS.items()}), GIVEN, ["150 rows"], id="few labels"
        ),
        pytest.param(
            profile(**ONE_DAY), replace(GIVEN, entity=("none",)), ["2024-01-01 to 2024-01-01"], id="all in one day"
        ),
        pytest.param(
            profile(**ONE_DAY), GIVEN, ["2024-01-01 to 2024-01-01", "7 days", "--entity"], id="one day, with history"
        ),
        pytest.param(profile(), Answers(label="minutes", snapshot=date(2024, 6, 1)), ["400 rows"], id="snapshot"),
    ],
)
def test_too_few_rows_are_refused(found: Profile, answers: Answers, names: Sequence[str]) -> None:
    """With how many there are, or from when to when."""
    with pytest.raises(SettingsError) as raised:
        plan("trips", found, decide(found, answers), answers.snapshot)
    assert "trips.csv" == raised.value.subject
    assert [] == missing(raised.value.problem, *names)
    assert ("--entity" in names) == ("--entity" in raised.value.problem)


@pytest.mark.parametrize("empty", [("ended_at", "minutes"), ("ended_at",)])
def test_newest_rows_that_wait_for_their_outcome_are_scored(tmp_path: Path, empty: tuple[str, ...]) -> None:
    """The windows end with the newest request, and the others are of rows whose label was known."""
    rows = pyarrow.csv.read_csv(rides(tmp_path / "clean.csv")).to_pydict()
    known = {name: [*rows[name][:2700], *[None] * 300] for name in empty}
    csv = write_csv(tmp_path / "data.csv", {**rows, **known})
    said = begun(checkout(tmp_path), "rides", csv, TIMED_RIDES)
    (note,) = [note for note in notes_of(said) if "scored" in note]
    assert [] == missing(note, "300 rows", "minutes")
    assert ("minutes" in empty) == ("ended_at" not in note)
    with project_of(tmp_path, "rides") as run:
        fresh = run.period("fresh")
    zone = ZoneInfo("Europe/Berlin")
    assert rows["asked_at"][-1].date() + timedelta(days=1) == fresh.end.astimezone(zone).date()
    assert fresh.start.astimezone(zone).date() < rows["asked_at"][2700].date()
