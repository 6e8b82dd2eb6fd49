"""What `ratchet init` asks of time: when a prediction would be asked for, when its label is known, and on whose clocks."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest

from authoring.init.answers import Answers
from ratchet.core.errors import SourceError
from tests.support.messages import missing
from tests.support.trips import DAYS, GIVEN, Open, asked, choices, decided, profile, to_give

UNTIMED = {"asked_at": None, "ended_at": None}
TIMES = ["asked_at", "ended_at"]


OPEN = {
    "which time": Open({"time": "", "known_at": "", "known_after": "1d"}, "--time COLUMN", TIMES, ["nothing"]),
    "no time": Open({"time": "date"}, "--time COLUMN", TIMES, ["date", "'2024-01-01 (local)'", "row 1"]),
    "when the label is known": Open(
        {"known_at": ""}, "--known-after --known-at COLUMN", ["ended_at"], ["nothing", "asked_at"]
    ),
    "label known before": Open(
        {"time": "ended_at", "known_at": "asked_at"}, "--known-after", [], ["asked_at", "later", "ended_at"]
    ),
    "label known at once": Open({"known_at": "asked_at"}, "--known-at COLUMN", ["ended_at"], ["asked_at", "later"]),
    "delay beside such a column": Open(
        {"known_after": "1d"}, "--known-at COLUMN", ["known_at"], ["column known_at"], columns={"known_at": DAYS}
    ),
    "which time zone": Open({"timezone": ""}, "--timezone ZONE UTC", [], ["nothing", "clocks"]),
}


@pytest.mark.parametrize("question", OPEN.values(), ids=OPEN)
def test_asks_again(question: Open) -> None:
    """What is open, or what an answer got wrong, is named with the flag to give and all that it may be."""
    assert (question.to_give, question.choices, []) == question.asked()


class TestTime:
    def test_is_the_only_one_but_the_label_s(self) -> None:
        """Nothing need be said."""
        assert "asked_at" == decided(replace(GIVEN, time="")).time

    @pytest.mark.parametrize("time", ["2024-01-31", "2024-01-31T18:30:00"])
    def test_is_written_as_the_question_shows(self, time: str) -> None:
        """Both examples of it are times."""
        assert [] == missing(asked(replace(GIVEN, time="date")).problem, time)
        assert "time" == profile(other=[time] * len(DAYS)).column("other").kind

    def test_that_is_wrong_once_shows_where(self) -> None:
        """And not a value that is right."""
        with pytest.raises(SourceError) as raised:
            decided(GIVEN, asked_at=[*DAYS[:-1], "2024-02-30"])
        assert [] == missing(raised.value.problem, "asked_at", "'2024-02-30'", "row 400")

    def test_that_there_is_not_costs_the_evidence_of_time(self) -> None:
        """And is said to, with what would save it."""
        question = asked(Answers(label="minutes"), **UNTIMED)
        assert "--snapshot YYYY-MM-DD" == to_give(question)
        assert [] == missing(question.problem, "--time", "--known-at", "--known-after", "'no time evidence'")

    def test_gives_way_to_a_snapshot(self) -> None:
        """Rows are then scattered by their key, or by an entity that is named."""
        answers = Answers(label="minutes", snapshot=date(2024, 6, 1))
        found = decided(answers)
        assert ("as_of", "known_at", "trip_id", (), "UTC") == (
            found.time,
            found.known_at,
            found.scattered_by,
            found.entities,
            found.timezone,
        )
        assert "zone" == decided(replace(answers, entity=("zone",))).scattered_by


class TestLabelKnown:
    def test_may_be_a_delay(self) -> None:
        """In minutes, hours or days, as the question offers."""
        answers = replace(GIVEN, known_at="", known_after="30d")
        assert 30 == getattr(decided(answers).known_after, "days", None)
        assert [] == missing(asked(replace(answers, known_after="30")).remedy, "30m", "12h", "30d")

    @pytest.mark.parametrize("text", ["30", "a month", "0d", "-3d", "99999999999d"])
    def test_must_be_a_time_span(self, text: str) -> None:
        """Longer than none."""
        question = asked(replace(GIVEN, known_after=text))
        assert ("--known-after", [repr(text)]) == (to_give(question), re.findall(r"'.+'", question.problem))


class TestTimezone:
    def test_that_is_misspelt_names_its_neighbours(self) -> None:
        """Of all zones that there are."""
        question = asked(replace(GIVEN, timezone="Europe/Berln"))
        assert "--timezone ZONE UTC" == to_give(question)
        assert "Europe/Berlin" in choices(question)
        assert [] == missing(question.problem, "'Europe/Berln'")
