"""The population stability index sees what moved, and no more than chance where nothing did."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference_pipeline.monitor.psi import psi

FINITE = st.floats(-1e6, 1e6)


def test_the_formula_by_hand() -> None:
    """Half and half against one and nine of ten: (0.1 - 0.5) ln(0.1 / 0.5) + (0.9 - 0.5) ln(0.9 / 0.5)."""
    reference, window = np.array(["a"] * 5 + ["b"] * 5), np.array(["a"] + ["b"] * 9)
    expected = (0.1 - 0.5) * math.log(0.1 / 0.5) + (0.9 - 0.5) * math.log(0.9 / 0.5)
    assert pytest.approx(expected) == psi(reference, window, numeric=False)


@given(arrays(np.float64, st.integers(1, 60), elements=FINITE), arrays(np.float64, st.integers(1, 60), elements=FINITE))
def test_it_is_no_distance_from_itself_and_never_negative(reference: np.ndarray, window: np.ndarray) -> None:
    """Zero for the same sample, at least zero for any other."""
    assert psi(reference, reference, numeric=True) == 0
    assert psi(reference, window, numeric=True) >= 0


@pytest.mark.parametrize("levels", [3, 30, 263, 5000])
def test_many_categories_are_no_drift(levels: int) -> None:
    """Two samples of one population stay far below the usual bound of 0.2, however many values they have."""
    rng = np.random.default_rng(5)
    reference, window = rng.integers(0, levels, 5000), rng.integers(0, levels, 500)
    assert psi(reference, window, numeric=False) < 0.1


def test_heavy_tails_do_not_hide_a_shift() -> None:
    """One enormous value does not put all others into one bin."""
    rng = np.random.default_rng(5)
    reference = np.append(rng.lognormal(size=5000), 1e9)
    assert psi(reference, 2 * rng.lognormal(size=1000), numeric=True) > 0.2


def test_values_outside_the_reference_are_seen() -> None:
    """A constant that became another constant drifted, upwards or downwards."""
    reference = np.full(500, 5.0)
    assert psi(reference, np.full(500, 3.0), numeric=True) > 1
    assert psi(reference, np.full(500, 7.0), numeric=True) > 1
    spread = np.linspace(0, 1, 500)
    assert psi(spread, spread - 1, numeric=True) > 1
    assert psi(spread, spread + 1, numeric=True) > 1


def test_an_unheard_of_category_is_seen() -> None:
    """A value that the reference lacks and half of the window has is drift."""
    reference, window = np.array(["a", "b"] * 200, object), np.array(["a", "c"] * 200, object)
    assert psi(reference, window, numeric=False) > 1
