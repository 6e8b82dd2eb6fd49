"""How much groups say of a label, and whether that is more than chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ratchet.models.baseline import BackoffBaseline
from ratchet.models.groups import Codes, Floats, codes, merged, spread
from ratchet.models.metrics import row_losses

ROWS = 4000


def drawn(seed: int, groups: int, effect: float) -> tuple[Codes, Floats]:
    """Groups at random, and a label that has a standard deviation of `effect` between them and 1 within."""
    rng = np.random.default_rng(seed)
    group, effects = rng.integers(0, groups, ROWS), rng.normal(0, 1, groups)
    return group, rng.normal(0, 1, ROWS) + effect * (effects / effects.std())[group]


@pytest.mark.parametrize("groups", [2, 12, 150])
def test_noise_is_chance(groups: int) -> None:
    """Groups of noise say no more than chance, however many they are: 1 in 20 may look otherwise."""
    assert sum(spread(*drawn(seed, groups, 0)).is_chance for seed in range(100)) >= 95


@pytest.mark.parametrize("groups", [12, 50])
def test_an_effect_is_not_chance(groups: int) -> None:
    """Where a tenth of the variance is between groups, they explain as much, and a baseline by them beats a constant."""
    group, label = drawn(7, groups, 1 / 3)
    found = spread(group, label)
    assert not found.is_chance
    assert found.explained == pytest.approx(0.1, abs=0.03)
    assert gain(group, label) > 0


def test_a_baseline_by_chance_loses_to_a_constant() -> None:
    """What is chance costs the baseline more than it gains, over some draws."""
    assert sum(gain(*drawn(seed, 50, 0)) for seed in range(10)) < 0


def gain(group: Codes, label: Floats) -> float:
    """How much less a baseline of groups errs than a constant, on the later half of the rows."""
    frame, half = pd.DataFrame({"group": group}), ROWS // 2
    fitted = BackoffBaseline((("group",), ()), "regression").fit(frame[:half], label[:half])
    losses = [
        row_losses("regression", label[half:], each.predict(frame[half:])) for each in (fitted.constant(), fitted)
    ]
    return float(losses[0].sum() - losses[1].sum())


@pytest.mark.parametrize("group", [np.zeros(5, np.int64), np.arange(5)])
def test_one_group_and_a_group_for_each_row_say_nothing(group: Codes) -> None:
    """There is nothing between them, or nothing within them."""
    found = spread(group, np.arange(5.0))
    assert (0.0, True) == (found.explained, found.is_chance)


def test_small_groups_are_taken_together() -> None:
    """Groups with too few rows become one; a missing value is a group of its own."""
    group = codes([np.array(["a", "a", "b", None, None, "c"], dtype=object)])
    assert [0, 0, 1, 2, 2, 3] == group.tolist()
    assert [0, 0, 1, 2, 2, 1] == merged(group, 2).tolist()
