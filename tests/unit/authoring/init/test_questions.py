"""`ratchet init`, what it asks: what a file does not say is an error that names the flag and what to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from authoring.init.answers import Answers
from authoring.init.plan import plan
from authoring.init.profile import Profile, profile_columns
from authoring.init.questions import Decided, decide
from ratchet.core.errors import RatchetError

ROWS = 400
MANY = np.arange(ROWS)
DAYS = np.datetime_as_string(np.datetime64("2024-01-01") + MANY // 4)
TRIPS: dict[str, Any] = {
    "Trip ID": MANY,
    "zone": np.char.add("z", (MANY % 7).astype(str)),
    "asked_at": DAYS,
    "ended_at": np.datetime_as_string(np.datetime64("2024-01-02") + MANY // 4),
    "date": np.char.add(DAYS, " (local)"),
    "tip": MANY % 13 / 4,
    "cancelled": MANY % 2,
    "rating": (MANY % 3).astype(str),
    "minutes": MANY * 37 % 101,
}
GIVEN = Answers(label="minutes", time="asked_at", known_at="ended_at", timezone="Europe/Berlin", entity=("zone",))


def profile(columns: Mapping[str, Any] = TRIPS, **others: Any) -> Profile:
    """A file of some columns, where None leaves one out."""
    chosen = {name: values for name, values in {**columns, **others}.items() if values is not None}
    text = {
        name: pa.array([None if value is None else str(value) for value in values]) for name, values in chosen.items()
    }
    return profile_columns(pa.table(text), Path("trips.csv"))


def decided(answers: Answers, **others: Any) -> Decided:
    return decide(profile(**others), answers)


def problem(answers: Answers, **others: Any) -> str:
    """What is asked, from after the file's name."""
    with pytest.raises(RatchetError) as raised:
        decided(answers, **others)
    return str(raised.value).removeprefix("trips.csv: ")


class TestLabel:
    def test_is_asked_for_with_the_columns_that_could_be_it(self) -> None:
        """Numbers and columns of two plain values, but not what only numbers the rows."""
        assert problem(Answers()) == (
            "nothing says which column is to be predicted. Give --label COLUMN, or COLUMN=VALUE "
            "(tip: a number, cancelled: 0 or 1, rating: a number, minutes: a number)."
        )

    def test_may_be_none_of_the_columns(self) -> None:
        """Where all are names."""
        text = profile_columns(pa.table({"zone": ["a", "b", "c"], "who": ["d", "e", "f"]}), Path("trips.csv"))
        with pytest.raises(RatchetError) as raised:
            decide(text, Answers())
        assert "no column is a number or has two values. Give --label COLUMN, or COLUMN=VALUE." in str(raised.value)

    def test_may_be_named_as_in_the_file_or_in_code(self) -> None:
        """Both are the same column."""
        assert decided(replace(GIVEN, label="Trip ID")).label == decided(replace(GIVEN, label="trip_id")).label

    def test_that_is_misspelt_names_its_neighbour(self) -> None:
        """And all columns."""
        assert problem(replace(GIVEN, label="minuts")) == (
            "there is no column 'minuts' (did you mean 'minutes'?). Give --label COLUMN "
            "(trip_id, zone, asked_at, ended_at, date, tip, cancelled, rating, minutes)."
        )

    def test_of_two_plain_values_is_a_yes_or_no(self) -> None:
        """0 and 1, or words for them; everything else that is a number is one."""
        assert "binary" == decided(replace(GIVEN, label="cancelled")).task
        words = decided(replace(GIVEN, label="left"), left=np.where(MANY % 2, "Yes", "no"))
        assert ("binary", "Yes") == (words.task, words.positive)
        assert "regression" == decided(GIVEN).task

    def test_may_be_a_value_of_a_column(self) -> None:
        """Then whether a row has it is predicted."""
        found = decided(replace(GIVEN, label="zone=z3", entity=("rating",)))
        assert ("zone", "z3", "binary") == (found.label.name, found.positive, found.task)

    def test_may_be_one_of_many_values(self) -> None:
        """More than can be listed."""
        code = np.char.add("k", (MANY % 50).astype(str))
        assert "k7" == decided(replace(GIVEN, label="code=k7"), code=code).positive
        assert problem(replace(GIVEN, label="code=k77"), code=code) == (
            "code is never 'k77'. Give --label COLUMN=VALUE."
        )

    def test_may_be_a_value_with_an_equals_sign(self) -> None:
        """As may the column's own name."""
        income = np.where(MANY % 3, ">50K", "<=50K")
        found = decided(replace(GIVEN, label="a=b=<=50K"), **{"a=b": income})
        assert ("a_b", "<=50K") == (found.label.name, found.positive)

    def test_may_not_be_a_value_that_never_is(self) -> None:
        """That is a typing error."""
        assert problem(replace(GIVEN, label="rating=5")) == "rating is never '5'. Give --label COLUMN=VALUE (0, 1, 2)."

    def test_of_many_values_is_no_yes_or_no(self) -> None:
        """Unless one of them is said to be the yes."""
        assert problem(replace(GIVEN, label="rating", task="binary")) == (
            "rating has 3 values, and a yes or no is to be predicted. "
            "Give --label COLUMN=VALUE, with the value that means yes (rating=0, rating=1, rating=2)."
        )

    def test_of_text_is_no_number(self) -> None:
        """It can only be one of its values, or not."""
        assert problem(replace(GIVEN, label="kind"), kind=np.where(MANY % 2, "good", "bad")) == (
            "kind does not hold numbers alone, but 'bad' in row 1 after the header. "
            "Give --label COLUMN of numbers, or COLUMN=VALUE for a yes or no (kind=bad, kind=good)."
        )

    def test_that_is_nearly_all_numbers_shows_what_is_none(self) -> None:
        """Whoever wrote 399 numbers has to find the one that is not."""
        minutes = [*TRIPS["minutes"][:-1], "10,5"]
        assert problem(GIVEN, minutes=minutes).startswith(
            "minutes does not hold numbers alone, but '10,5' in row 400 after the header. "
        )

    def test_must_be_finite(self) -> None:
        """Neither its bounds nor its scale could be told."""
        assert problem(GIVEN, minutes=[*TRIPS["minutes"][:-1], "-inf"]) == (
            "minutes is infinite in 1 row. Give --label COLUMN of finite numbers, or leave such cells empty."
        )

    def test_that_is_a_value_is_no_number(self) -> None:
        """It can only be predicted whether a row has it."""
        assert problem(replace(GIVEN, label="rating=2", task="regression")).startswith(
            "whether rating is 2 is a yes or no, and a number is to be predicted. "
        )


class TestTime:
    def test_is_the_only_one_but_the_label_s(self) -> None:
        """Nothing need be said."""
        assert "asked_at" == decided(replace(GIVEN, time="")).time

    def test_is_asked_for_where_there_are_several(self) -> None:
        """A file says when, but not which is the timestamp of asking."""
        assert problem(replace(GIVEN, time="", known_at="", known_after="1d")) == (
            "nothing says at which of its times a prediction would have been asked for. "
            "Give --time COLUMN (asked_at, ended_at)."
        )

    def test_must_be_one(self) -> None:
        """Written as ISO 8601 has it."""
        assert problem(replace(GIVEN, time="date")) == (
            "date does not hold times alone, but '2024-01-01 (local)' in row 1 after the header; "
            "a time is written 2024-01-31 or 2024-01-31T18:30:00. Give --time COLUMN (asked_at, ended_at)."
        )

    def test_that_is_wrong_once_shows_where(self) -> None:
        """And not a value that is right."""
        asked_at = [*DAYS[:-1], "2024-02-30"]
        assert problem(GIVEN, asked_at=asked_at).startswith(
            "asked_at does not hold times alone, but '2024-02-30' in row 400 after the header; "
        )

    def test_that_there_is_not_costs_the_evidence_of_time(self) -> None:
        """And is said to."""
        assert problem(Answers(label="minutes"), asked_at=None, ended_at=None) == (
            "no column says when a row was known. Set its time by --time and --known-at or --known-after, if there is one; "
            "with a snapshot date instead, rows are split by entity, and the gate record will carry 'no time evidence'. "
            "Give --snapshot YYYY-MM-DD, the day on which the file was made."
        )

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
    def test_is_asked_for_with_the_later_times(self) -> None:
        """No file says how long it took to know."""
        assert problem(replace(GIVEN, known_at="")) == (
            "nothing says how long after asked_at the label is known. "
            "Give --known-after such as 30m, 12h or 30d; or --known-at COLUMN (ended_at)."
        )

    def test_must_be_later(self) -> None:
        """Or it would be known when asked."""
        assert problem(replace(GIVEN, time="ended_at", known_at="asked_at")) == (
            "asked_at is not later than ended_at in most rows, as the timestamp when the label is known must be. "
            "Give --known-after such as 30m, 12h or 30d."
        )
        assert problem(replace(GIVEN, known_at="asked_at")) == (
            "asked_at is not later than asked_at in most rows, as the timestamp when the label is known must be. "
            "Give --known-at COLUMN (ended_at)."
        )

    def test_may_be_a_delay(self) -> None:
        """In minutes, hours or days."""
        answers = replace(GIVEN, known_at="", known_after="30d")
        assert 30 == getattr(decided(answers).known_after, "days", None)

    @pytest.mark.parametrize("text", ["30", "a month", "0d", "-3d", "99999999999d"])
    def test_must_be_a_time_span(self, text: str) -> None:
        """Longer than none."""
        assert problem(replace(GIVEN, known_after=text)) == (
            f"{text!r} is no time span. Give --known-after such as 30m, 12h or 30d."
        )

    def test_is_not_added_to_a_file_that_has_it(self) -> None:
        """A column of that name says something else."""
        assert problem(replace(GIVEN, known_after="1d"), known_at=DAYS) == (
            "the file has a column known_at of its own, and the delay would be another. Give --known-at COLUMN (known_at)."
        )


class TestTimezone:
    def test_is_asked_for(self) -> None:
        """Wall clocks do not say where they hang."""
        assert problem(replace(GIVEN, timezone="")) == (
            "nothing says where its clocks are. Give --timezone ZONE, such as Europe/Berlin or UTC."
        )

    def test_that_is_misspelt_names_its_neighbours(self) -> None:
        """Of all zones that there are."""
        said = problem(replace(GIVEN, timezone="Europe/Berln"))
        assert said.startswith(
            "there is no time zone 'Europe/Berln'. Give --timezone ZONE, such as Europe/Berlin or UTC ("
        )
        assert "Europe/Berlin," in said


class TestKey:
    def test_is_a_column_without_repetitions(self) -> None:
        """Preferably one that is called an id."""
        names = np.char.add("n", MANY.astype(str))
        assert ("trip_id",) == decided(GIVEN).key
        assert ("trip_id",) == decide(profile({"name": names, **TRIPS}), GIVEN).key

    def test_may_be_several_columns(self) -> None:
        """With the time among them."""
        key = decided(GIVEN, **{"Trip ID": None}).key
        assert "asked_at" in key
        assert 0 == profile().repeated(key)

    def test_may_be_nowhere(self) -> None:
        """Then somebody has to number the rows."""
        two = {name: [*values, *values] for name, values in TRIPS.items()}
        with pytest.raises(RatchetError) as raised:
            decide(profile(two), GIVEN)
        assert str(raised.value) == (
            "trips.csv: no column, nor three together, tells the rows apart. "
            "Give --key COLUMN for each column of the key, or number the rows in a column of their own."
        )

    def test_that_repeats_is_none(self) -> None:
        """Most rows would be quarantined."""
        assert problem(replace(GIVEN, key=("zone", "rating"))) == (
            "379 of 400 rows repeat the key zone, rating of another, or lack one. "
            "Give --key COLUMN for each column (--key trip_id)."
        )


class TestEntity:
    def test_is_asked_for_where_several_repeat(self) -> None:
        """With what repeats."""
        assert problem(replace(GIVEN, entity=()), date=None) == (
            "nothing says who or what a row is about, whose history is to be looked up. "
            "Give --entity COLUMN, or none (zone, rating)."
        )

    def test_may_be_none(self) -> None:
        """Then nothing is looked up."""
        assert () == decided(replace(GIVEN, entity=("none",))).entities

    def test_is_the_only_one_that_repeats(self) -> None:
        """Nothing need be said."""
        assert ("zone",) == decided(replace(GIVEN, entity=()), date=None, rating=None).entities

    def test_cannot_be_what_is_unknown_or_no_name(self) -> None:
        """A decimal number, the label, or what is known late."""
        for name in ("tip", "minutes"):
            assert problem(replace(GIVEN, entity=(name,)), date=None) == (
                f"{name} cannot be looked up: an entity is text or a whole number, and neither label, time nor late. "
                "Give --entity COLUMN, or none (zone, rating)."
            )


class TestHeaders:
    @pytest.mark.parametrize(
        ("headers", "said"),
        [
            (
                ["a;b;c"],
                "has a single column, 'a;b;c'. Separate the columns by commas, and write decimals with a point.",
            ),
            (
                ["a", "日付"],
                "column '日付' has no letter from a to z and no digit to make a name of. Rename it in the file.",
            ),
            (
                ["Day 1", "day_1", "x"],
                "columns 'Day 1', 'day_1' would all be called day_1. Rename all but one of them in the file.",
            ),
            (["a", "b" * 61], f"column '{'b' * 61}' has a name of more than 60 letters. Rename it in the file."),
        ],
    )
    def test_must_make_names(self, headers: list[str], said: str) -> None:
        """Or are refused, with what to do."""
        with pytest.raises(RatchetError) as raised:
            profile_columns(pa.table([pa.array(["1"])] * len(headers), names=headers), Path("trips.csv"))
        assert f"trips.csv: {said}" == str(raised.value)

    def test_without_a_name_is_no_column(self) -> None:
        """As the one that pandas writes its row numbers in."""
        assert ["a"] == [
            column.name for column in profile_columns(pa.table({"": ["0"], "a": ["1"]}), Path("x")).columns
        ]


class TestKinds:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (["1", "2", None], "whole"),
            (["1.0", "2.0", "NA"], "whole"),
            (["1.5", "2"], "number"),
            (["True", "false"], "boolean"),
            (["2024-01-31", "2024-01-31T10:00:00+02:00"], "time"),
            (["01", "12"], "text"),
            (["123456789012345", "1"], "whole"),
            (["76561198000000001", "1"], "text"),
            (["a", "1"], "text"),
            ([None, "NaN"], "empty"),
        ],
    )
    def test_are_those_of_all_values(self, values: list[str | None], kind: str) -> None:
        """One that does not fit makes it text, as do leading zeros and numbers too long to be exact."""
        text = pa.table({"x": pa.array(values, pa.string()), "y": pa.array(["1"] * len(values))})
        assert kind == profile_columns(text, Path("x")).column("x").kind


class TestEnoughRows:
    def test_of_labels(self) -> None:
        """A handful proves nothing."""
        rows = {name: values[:150] for name, values in TRIPS.items()}
        self.refused(profile(rows), GIVEN, "has only 150 rows with a time and a label")

    def test_of_days(self) -> None:
        """All in one day leaves nothing to hold out."""
        found = profile(asked_at=["2024-01-01"] * ROWS, ended_at=["2024-01-02"] * ROWS)
        said = (
            "spans 2024-01-01 to 2024-01-01: too little to train, stop early and judge on rows whose labels were known"
        )
        self.refused(found, replace(GIVEN, entity=("none",)), said)
        history = said.replace(":", ", of which 7 days are history for --entity:")
        self.refused(found, GIVEN, history)

    def test_of_a_snapshot(self) -> None:
        """Which have no time, but are to be split all the same."""
        self.refused(profile(), Answers(label="minutes", snapshot=date(2024, 6, 1)), "has only 400 rows with a label")

    @staticmethod
    def refused(found: Profile, answers: Answers, said: str) -> None:
        with pytest.raises(RatchetError) as raised:
            plan("trips", found, decide(found, answers), answers.snapshot)
        remedy = "Give a file with more rows or a longer time, or write use case and periods by hand."
        assert f"trips.csv: {said}. {remedy}" == str(raised.value)
