"""What a function is made of changes with whatever may change its result, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ratchet.core.errors import SettingsError
from ratchet.features.function_fingerprint import composition
from ratchet.storage.digests import digest

FEATURES = '''
from __future__ import annotations

import logging
import math
import re
from collections import defaultdict, namedtuple
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag
from functools import lru_cache, partial, update_wrapper, wraps
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from own import numbers
from own.numbers import Meter

FARES = {"day": 2, "night": 3}
ZONES = [1, 2]
AIRPORTS = {"JFK", "LGA", "EWR"}
DEEP = 5
CODE = re.compile("[a-z]+")
EDGES = np.array([1.0, 2.0])
Box = namedtuple("Box", "left right")
BOX = Box(1, 2)


@dataclass(frozen=True)
class Scale:
    """Of a map."""

    by: float

    def __call__(self, value: float) -> float:
        return value * self.by


def scaled(by):
    def scale(value):
        return value * by
    return scale


def doubled(function):
    @wraps(function)
    def twice(value):
        return function(value) * 2
    return twice


class Kept:
    def __init__(self, function):
        update_wrapper(self, function)
        self.function = function

    def __call__(self, value):
        return self.function(value) - 3


@Kept
def kept(value):
    return value + 6


class Fare(Enum):
    METERED = 1
    FLAT = 2


class Day(Flag):
    SATURDAY = 1
    SUNDAY = 2


RARE = {Fare.METERED, Fare.FLAT, Box}
WEEKEND = Day.SATURDAY | Day.SUNDAY
OTHERS = [
    timedelta(hours=4),
    datetime(2024, 1, 2, tzinfo=UTC),
    Decimal("1.5"),
    ZoneInfo("Europe/Berlin"),
    defaultdict(list, {"a": [1]}),
    Path("data/zones.csv"),
    logging.getLogger("own"),
    "a b".split,
    np.float32(2.5),
    np.datetime64("2024-01-01", "D"),
]


@lru_cache(maxsize=4)
def cached(value: float) -> float:
    return value + 1


@doubled
def decorated(value):
    return value + 2


def add(value, more):
    return value + more


def with_default(value, least=3):
    return max(value, least)


with_default.most = 21


half, third, map_scale, more, least = scaled(1 / 2), scaled(1 / 3), Scale(7.0), partial(add, more=4), lambda value: value - 8


def on_demand(columns):
    """Numbers."""
    from .numbers import LATE
    unused = LATE if columns else 1  # a comment
    inside = [zone * DEEP for zone in ZONES]
    named = {key: f"{fare:>{unused}}" for key, fare in FARES.items() if key in AIRPORTS}
    used = numbers.LIMIT, Meter.MILES, CODE, EDGES, BOX, math.pi
    return inside, named, used, [f(1) for f in (half, third, map_scale, more, least, cached, decorated, with_default, kept)], \
        RARE, WEEKEND, OTHERS
'''
NUMBERS = """
LIMIT = 10
LATE = 13
OTHER = 11


class Meter:
    MILES = 1.6
"""
FILES = {"__init__.py": "", "features.py": FEATURES, "numbers.py": NUMBERS}
Tell = Callable[[Mapping[str, str]], Any]


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Of a package `own` of some files, what its features.on_demand is made of."""

    def told(files: Mapping[str, str]) -> Any:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / "own").mkdir(parents=True)
        for name, text in files.items():
            (folder / "own" / name).write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "own"]:
            monkeypatch.delitem(sys.modules, name)
        return composition(importlib.import_module("own.features").on_demand, {"own"})

    return told


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("columns else 1", "columns else 2"),
        ("LATE = 13", "LATE = 14"),
        ('"night": 3', '"night": 4'),
        ("ZONES = [1, 2]", "ZONES = [2, 1]"),
        ('"EWR"', '"EWR", "SWF"'),
        ("DEEP = 5", "DEEP = 6"),
        ("[a-z]+", "[a-z]*"),
        ("[1.0, 2.0]", "[1.0, 2.5]"),
        ("Box(1, 2)", "Box(1, 3)"),
        ("LIMIT = 10", "LIMIT = 12"),
        ("MILES = 1.6", "MILES = 1.7"),
        ("scaled(1 / 3)", "scaled(1 / 4)"),
        ("value * by\n", "value / by\n"),
        ("Scale(7.0)", "Scale(7.5)"),
        ("value * self.by", "value / self.by"),
        ("more=4", "more=5"),
        ("value + more", "value - more"),
        ("value - 8", "value - 9"),
        ("value + 1", "value + 1.5"),
        ("function(value) * 2", "function(value) * 3"),
        ("value + 2", "value + 2.5"),
        ("least=3", "least=4"),
        ("most = 21", "most = 22"),
        ("function(value) - 3", "function(value) - 4"),
        ("value + 6", "value + 7"),
        ("FLAT = 2", "FLAT = 3"),
        ("Fare.FLAT, Box", "Box"),
        ("Day.SATURDAY | Day.SUNDAY", "Day.SATURDAY"),
        ("hours=4", "hours=5"),
        ('"Europe/Berlin"', '"Europe/Paris"'),
        ("zones.csv", "places.csv"),
        ("half, third, map_scale, more, least, cached", "third, half, map_scale, more, least, cached"),
        ("half, third, map_scale, more, least =", "third, half, map_scale, more, least ="),
    ],
)
def test_it_changes_with_all_that_is_used(tell: Tell, before: str, after: str) -> None:
    """However the function comes by it: by name, closure, argument, default, decorator, attribute or base."""
    changed = {name: text.replace(before, after) for name, text in FILES.items()}
    assert 1 == sum(text.count(before) for text in FILES.values())
    assert tell(FILES) != tell(changed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  # a comment", ""),
        ('"""Numbers."""', '"""Something else."""'),
        ('"""Of a map."""', '"""Of a chart."""'),
        ("cached(value: float) -> float", "cached(value: int) -> int"),
        ("OTHER = 11", "OTHER = 12"),
        ("def on_demand", "\n\ndef unrelated():\n    return 1\n\n\ndef on_demand"),
        ("return value + more", "return (value + more)"),
        ('{"JFK", "LGA", "EWR"}', '{"EWR", "JFK", "LGA"}'),
    ],
)
def test_it_does_not_change_with_the_rest(tell: Tell, before: str, after: str) -> None:
    """Prose, layout and neighbours demand no new model."""
    assert tell(FILES) == tell({name: text.replace(before, after) for name, text in FILES.items()})


def test_it_is_the_same_in_every_version_of_python(tell: Tell) -> None:
    """Versions compile comprehensions differently, and print trees differently; a model outlives them."""
    assert "a3e2e68d4b1fe79d30054fc993ed14cc4863cebf0b71f855f3b4820cd17c8429" == digest(tell(FILES))


def test_a_cycle_ends(tell: Tell) -> None:
    """Functions that call one another are told once."""
    text = "def on_demand(c):\n    return other(c)\ndef other(c):\n    return on_demand(c)\n"
    changed = text.replace("on_demand(c)\n", "on_demand(c + 1)\n")
    assert tell({"features.py": text}) != tell({"features.py": changed})


def test_what_cannot_be_told_is_refused(tell: Tell) -> None:
    """A lock, an open file or a generator says nothing about what it will do."""
    text = "import threading\nLOCK = threading.Lock()\ndef on_demand(c):\n    return LOCK\n"
    with pytest.raises(SettingsError, match=r"uses a _thread\.lock"):
        tell({"features.py": text})


def test_code_without_source_is_refused(tell: Tell) -> None:
    """What was compiled from no file cannot be compared."""
    text = "from dataclasses import dataclass\n@dataclass\nclass Pair:\n    left: int\non_demand = Pair.__init__\n"
    with pytest.raises(SettingsError, match="uses __init__, whose source is not there"):
        tell({"features.py": text})
