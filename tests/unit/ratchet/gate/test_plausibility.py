"""What looks too good to be true is found, whatever form the leak has; honest signals are left alone, however strong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.gate.plausibility import MOST_EXPLAINED, LinearFit, linear_fit
from ratchet.use_case.contract import Array, Kind, Task

ROWS = 1200
Made = tuple[dict[str, Array], Array]
"""Columns beside the ordinary ones, and the label."""


def fit(made: Made, task: Task = "regression") -> LinearFit:
    """The fit of a label on its own columns, beside ordinary ones: numbers, categories, an id, a constant, a gap."""
    rng, rows = np.random.default_rng(9), len(made[1])
    ordinary = {
        "hour": rng.integers(0, 24, rows).astype(np.float64),
        "temp": rng.normal(size=rows),
        "gap": np.where(rng.random(rows) < 0.3, np.nan, rng.gamma(2.0, 1.0, rows)),
        "flag": np.ones(rows),
        "season": rng.choice(np.array(["wet", "dry", None], dtype=object), rows),
        "id": np.array([f"row {row}" for row in range(rows)], dtype=object),
    }
    columns = {**ordinary, **made[0]}
    kinds: Mapping[str, Any] = {
        name: "category" if column.dtype == object else "number" for name, column in columns.items()
    }
    return linear_fit(task, columns, kinds, np.asarray(made[1], dtype=np.float64))


def amounts(seed: int, shape: float = 2.0) -> Array:
    return np.random.default_rng(seed).gamma(shape, 10.0, ROWS)


def named(values: Array) -> Array:
    return np.array([f"v{value:g}" for value in values], dtype=object)


ONE, TWO, NOISE = amounts(1), amounts(2), np.random.default_rng(3).normal(size=ROWS)
COUNTS, START = np.floor(ONE), 1.7e15 + np.random.default_rng(4).integers(0, 3 * 10**13, ROWS).astype(np.float64)
CODES = np.random.default_rng(5).integers(0, 40, ROWS).astype(np.float64)
PRICES = np.random.default_rng(6).normal(size=40)[CODES.astype(np.int64)]
PARTS = {f"part_{number}": np.floor(amounts(10 + number)) for number in range(12)}

LEAKS: dict[str, Made] = {
    "sum": ({"casual": COUNTS, "registered": np.floor(TWO)}, COUNTS + np.floor(TWO)),
    "sum with a weak part": ({"most": 20 * ONE, "rest": TWO}, 20 * ONE + TWO),
    "sum of many": (PARTS, np.sum([*PARTS.values()], axis=0)),
    "difference": ({"gross": ONE + TWO, "cost": ONE}, TWO),
    "difference of two times": ({"start": START, "end": START + 1e6 * ONE}, ONE / 60),
    "quotient": ({"distance": ONE, "duration": TWO + 1}, ONE / (TWO + 1)),
    "product with zeros": ({"price": ONE, "sold": COUNTS % 5}, ONE * (COUNTS % 5)),
    "product with signs": ({"margin": NOISE, "sold": COUNTS + 1}, NOISE * (COUNTS + 1)),
    "another unit": ({"minutes": ONE}, 60 * ONE + 32),
    "power": ({"radius": ONE}, ONE**3),
    "exponential": ({"level": NOISE}, np.exp(2 * NOISE)),
    "nearly the label": ({"estimate": ONE + 0.05 * ONE.std() * NOISE}, ONE),
    "category that decides": ({"item": named(CODES)}, PRICES),
    "code that decides": ({"item": CODES}, PRICES),
    "huge numbers": ({"casual": 1e300 * ONE, "registered": 1e300 * TWO}, 1e300 * (ONE + TWO)),
    "some parts missing": ({"casual": np.where(CODES == 7, np.nan, ONE), "registered": 9 * TWO}, ONE + 9 * TWO),
    "some parts infinite": ({"casual": np.where(CODES == 7, np.inf, ONE), "registered": 9 * TWO}, ONE + 9 * TWO),
}


@pytest.mark.parametrize("name", LEAKS)
def test_leak_is_named_by_its_columns_and_no_others(name: str) -> None:
    """Whatever form it has, it is too good, and the columns are those that the label is made of."""
    found = fit(LEAKS[name])
    assert found.is_too_good
    assert tuple(LEAKS[name][0]) == found.columns


BINARY: dict[str, Made] = {
    "copy": ({"churned": (ONE > 20).astype(np.float64)}, ONE > 20),
    "threshold": ({"amount": ONE}, ONE > 20),
    "category that decides": ({"item": named(CODES)}, CODES > 25),
    "nearly a copy": ({"flag2": (ONE > 20) ^ (np.arange(ROWS) % 1000 == 0)}, ONE > 20),
}


@pytest.mark.parametrize("name", BINARY)
def test_leak_of_a_binary_label_is_named(name: str) -> None:
    """A yes or no is given away by a threshold of the fit, or of a single column."""
    assert (True, tuple(BINARY[name][0])) == ((found := fit(BINARY[name], "binary")).is_too_good, found.columns)


def _odds(strength: float) -> Array:
    return np.random.default_rng(7).random(ROWS) < 1 / (1 + np.exp(-strength * NOISE))


HONEST: list[tuple[str, Task, Made]] = [
    ("nine tenths", "regression", ({"good": ONE + 0.3 * ONE.std() * NOISE}, ONE)),
    ("a sum with weather", "regression", ({"a": ONE, "b": TWO}, ONE + TWO + 0.2 * (ONE + TWO).std() * NOISE)),
    ("a product with weather", "regression", ({"a": ONE, "b": TWO}, ONE * TWO * np.exp(0.3 * NOISE))),
    ("noise", "regression", ({}, NOISE)),
    ("counts", "regression", ({"rate": ONE}, np.random.default_rng(8).poisson(ONE / 4))),
    ("mostly zero", "regression", ({"rate": ONE}, np.where(CODES > 2, 0, TWO))),
    ("one outlier", "regression", ({"rate": ONE}, np.where(np.arange(ROWS) == 5, 1e9, NOISE))),
    ("strong odds", "binary", ({"risk": NOISE}, _odds(6.0))),
    ("even odds", "binary", ({"risk": NOISE}, _odds(0.0))),
    ("rare and random", "binary", ({"risk": NOISE}, np.arange(ROWS) % 997 == 0)),
]


@pytest.mark.parametrize(("task", "made"), [pytest.param(task, made, id=name) for name, task, made in HONEST])
def test_honest_signal_is_left_alone(task: Task, made: Made) -> None:
    """A strong feature explains much, but not nearly all, and no column is named."""
    found = fit(made, task)
    assert found.explained is not None
    assert found.explained < MOST_EXPLAINED
    assert () == found.columns


@pytest.mark.parametrize("label", [np.ones(ROWS), np.full(ROWS, np.nan), 1e9 + 1e-6 * (CODES > 20), NOISE[:20]])
def test_nothing_is_said_where_nothing_can_be(label: Array) -> None:
    """Equal labels, none at all, those that differ by rounding alone, and too few rows have no fit, and no pass."""
    found = fit(({}, label))
    assert (None, False) == (found.explained, found.is_too_good)


def test_no_inputs_explain_nothing() -> None:
    """A model without inputs is no better than a constant."""
    assert 0.0 == linear_fit("regression", {}, {}, ONE).explained


def test_a_row_for_each_of_many_columns_hides_no_leak() -> None:
    """More columns of noise than most tables have, and a sum among them."""
    rng = np.random.default_rng(11)
    wide = {f"noise_{number}": rng.normal(size=600) for number in range(40)}
    found = fit(({**wide, "a": ONE[:600], "b": TWO[:600]}, ONE[:600] + TWO[:600]))
    assert ("a", "b") == found.columns


@settings(max_examples=5, deadline=None)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), order=st.permutations(["one", "two", "noise"]))
def test_unit_and_order_of_columns_do_not_matter(scale: float, shift: float, order: list[str]) -> None:
    """Dollars or cents, first column or last: the same leak by the same columns."""
    columns = {"one": ONE * scale, "two": TWO, "noise": NOISE}
    found = linear_fit("regression", columns, dict.fromkeys(order, "number"), scale * ONE + scale * TWO + shift)
    assert {"one", "two"} == set(found.columns)


@pytest.mark.parametrize("make", [lambda: fit(LEAKS["sum"]), lambda: fit(HONEST[0][2])])
def test_same_rows_give_the_same_figures(make: Callable[[], LinearFit]) -> None:
    """To the last digit that is kept."""
    assert make() == make()


def test_inputs_that_say_nearly_the_same_hide_no_leak() -> None:
    """A zone and where it lies tell one another, but for rare zones of which only one of the two is known."""
    rng = np.random.default_rng(4)
    zone, effect = rng.integers(0, 50, 3000), rng.normal(0, 5, 60)
    rare = rng.random(3000) < 0.005
    zone[rare] = rng.integers(50, 60, int(rare.sum()))
    place = np.where(rare, np.nan, zone * 1.1)
    label = effect[zone] + rng.normal(0, 2, 3000)
    columns = {
        "zone": zone.astype(str).astype(object),
        "place": place,
        "north": place * 0.7 + 3,
        "meter": label * 0.7 + rng.normal(0, 0.2, 3000),
    }
    kinds: dict[str, Kind] = {"zone": "category", "place": "number", "north": "number", "meter": "number"}
    fit = linear_fit("regression", columns, kinds, label)
    assert fit.is_too_good
    assert fit.columns == ("meter",)
