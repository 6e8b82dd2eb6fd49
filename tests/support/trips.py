"""A file of a few columns, which `ratchet init` is asked about in memory, and what it asks in return."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from authoring.init.answers import Answers, UnansweredError
from authoring.init.profile import Profile, profile_columns
from authoring.init.questions import Decided, decide
from tests.support.messages import missing

ROWS = 400
MANY = np.arange(ROWS)
DAYS = np.datetime_as_string(np.datetime64("2024-01-01") + MANY // 4)
TRIPS: Mapping[str, Any] = {
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
    """What follows from the answers, for TRIPS with other columns."""
    return decide(profile(**others), answers)


def asked(answers: Answers, **others: Any) -> UnansweredError:
    """The question that these answers leave open."""
    with pytest.raises(UnansweredError, match=r"^trips\.csv: ") as raised:
        decided(answers, **others)
    return raised.value


@dataclass(frozen=True)
class Open:
    """Changes to GIVEN and to TRIPS that leave a question open: what it says to give, among what, and names in its problem."""

    answers: Mapping[str, Any]
    to_give: str
    choices: Sequence[str]
    names: Sequence[str]
    columns: Mapping[str, Any] = field(default_factory=dict)

    def asked(self) -> tuple[str, Sequence[str], list[str]]:
        """What is asked to be given, among what, and which of the names its problem lacks."""
        question = asked(replace(GIVEN, **self.answers), **self.columns)
        return to_give(question), choices(question), missing(question.problem, *self.names)


def to_give(question: UnansweredError) -> str:
    """The flags and placeholders of the remedy, in order, such as `--label COLUMN`."""
    form = question.remedy.partition(" (")[0]
    return " ".join(re.findall(r"--[a-z-]+|\b[A-Z]+(?:[=-][A-Z]+)*\b", form))


def choices(question: UnansweredError) -> list[str]:
    """What the remedy offers to choose from, in the brackets at its end."""
    return re.findall(r"[^,()]+", question.remedy.partition(" (")[2].replace(", ", ","))
