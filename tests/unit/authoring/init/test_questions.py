"""What `ratchet init` asks of label, key and entity: the flag to give, what to choose from, and what was wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from authoring.init.answers import Answers, UnansweredError
from authoring.init.profile import profile_columns
from authoring.init.questions import decide
from tests.support.messages import missing
from tests.support.trips import GIVEN, MANY, TRIPS, Open, asked, choices, decided, profile, to_give

CODE = np.char.add("k", (MANY % 50).astype(str))
KIND = np.where(MANY % 2, "good", "bad")
TO_PREDICT = "--label COLUMN COLUMN=VALUE"
ENTITIES = ["zone", "rating"]
RATINGS = ["rating=0", "rating=1", "rating=2"]
COLUMNS = ["trip_id", "zone", "asked_at", "ended_at", "date", "tip", "cancelled", "rating", "minutes"]


def with_last(cell: str) -> list[Any]:
    """The minutes, of which the last is another."""
    return [*TRIPS["minutes"][:-1], cell]


OPEN = {
    "misspelt label": Open({"label": "minuts"}, "--label COLUMN", COLUMNS, ["'minuts'", "'minutes'"]),
    "one of many values": Open(
        {"label": "code=k77"}, "--label COLUMN=VALUE", [], ["code", "'k77'"], columns={"code": CODE}
    ),
    "one of few values": Open({"label": "rating=5"}, "--label COLUMN=VALUE", ["0", "1", "2"], ["rating", "'5'"]),
    "one of three values": Open(
        {"label": "rating", "task": "binary"}, "--label COLUMN=VALUE", RATINGS, ["rating", "3"]
    ),
    "number of text": Open(
        {"label": "kind"}, TO_PREDICT, ["kind=bad", "kind=good"], ["kind", "'bad'", "row 1"], columns={"kind": KIND}
    ),
    "one text among numbers": Open(
        {}, TO_PREDICT, [], ["minutes", "'10,5'", "row 400"], columns={"minutes": with_last("10,5")}
    ),
    "infinite number": Open(
        {}, "--label COLUMN", [], ["minutes", "infinite", "1 row"], columns={"minutes": with_last("-inf")}
    ),
    "number of one value": Open(
        {"label": "rating=2", "task": "regression"}, TO_PREDICT, RATINGS, ["rating", "2", "number"]
    ),
    "key that repeats": Open(
        {"key": ("zone", "rating")}, "--key COLUMN", ["--key trip_id"], ["379 of 400 rows", "zone, rating"]
    ),
    "entity among several": Open({"entity": ()}, "--entity COLUMN", ENTITIES, ["history"], columns={"date": None}),
    "entity of decimals": Open({"entity": ("tip",)}, "--entity COLUMN", ENTITIES, ["tip"], columns={"date": None}),
    "entity that is the label": Open(
        {"entity": ("minutes",)}, "--entity COLUMN", ENTITIES, ["minutes"], columns={"date": None}
    ),
}


@pytest.mark.parametrize("question", OPEN.values(), ids=OPEN)
def test_asks_again(question: Open) -> None:
    """What is open, or what an answer got wrong, is named with the flag to give and all that it may be."""
    assert (question.to_give, question.choices, []) == question.asked()


class TestLabel:
    def test_is_asked_for_with_the_columns_that_could_be_it(self) -> None:
        """Numbers and columns of two plain values, but not what only numbers the rows."""
        question = asked(Answers())
        kinds = dict(choice.split(": ") for choice in choices(question))
        assert TO_PREDICT == to_give(question)
        assert ["tip", "cancelled", "rating", "minutes"] == list(kinds)
        assert [] == missing(kinds["cancelled"], "0", "1")

    def test_may_be_none_of_the_columns(self) -> None:
        """Where all are names, there is nothing to choose from."""
        text = profile_columns(pa.table({"zone": ["a", "b", "c"], "who": ["d", "e", "f"]}), Path("trips.csv"))
        with pytest.raises(UnansweredError, match="no column") as raised:
            decide(text, Answers())
        assert (TO_PREDICT, []) == (to_give(raised.value), choices(raised.value))

    def test_may_be_named_as_in_the_file_or_in_code(self) -> None:
        """Both are the same column."""
        assert decided(replace(GIVEN, label="Trip ID")).label == decided(replace(GIVEN, label="trip_id")).label

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
        assert "k7" == decided(replace(GIVEN, label="code=k7"), code=CODE).positive

    def test_may_be_a_value_with_an_equals_sign(self) -> None:
        """As may the column's own name."""
        income = np.where(MANY % 3, ">50K", "<=50K")
        found = decided(replace(GIVEN, label="a=b=<=50K"), **{"a=b": income})
        assert ("a_b", "<=50K") == (found.label.name, found.positive)


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
        question = asked(GIVEN, **{name: [*values, *values] for name, values in TRIPS.items()})
        assert ("--key COLUMN", []) == (to_give(question), choices(question))
        assert [] == missing(question.remedy, "number")


class TestEntity:
    def test_may_be_none(self) -> None:
        """Then nothing is looked up."""
        assert () == decided(replace(GIVEN, entity=("none",))).entities
        assert [] == missing(asked(replace(GIVEN, entity=("tip",))).remedy, "none")

    def test_is_the_only_one_that_repeats(self) -> None:
        """Nothing need be said."""
        assert ("zone",) == decided(replace(GIVEN, entity=()), date=None, rating=None).entities
