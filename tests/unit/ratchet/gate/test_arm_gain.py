"""The gain of one arm over the other: that its interval is right, whether they saw the same rows or not."""

from __future__ import annotations

import numpy as np
import pytest

from ratchet.gate.arm_gain import CLUSTERS, LEAST, ArmLosses, arm_gain
from ratchet.gate.evidence import Gain

ENTITIES, TRUE_RATIO = 300, 1.1
"""The challenger's squared errors are a tenth larger."""


def arms(rng: np.random.Generator, *, is_paired: bool, ratio: float = TRUE_RATIO) -> tuple[ArmLosses, ArmLosses]:
    """Entities with one to nine rows each, some much harder than others."""
    clusters = np.repeat(rng.choice(CLUSTERS, ENTITIES, replace=False), rng.integers(1, 10, ENTITIES)).astype(np.int64)
    hard = rng.gamma(2.0, size=CLUSTERS)[clusters]
    champion, challenger = (hard * rng.gamma(3.0, size=len(hard)) for _ in range(2))
    if is_paired:
        return ArmLosses(ratio * challenger, clusters), ArmLosses(champion, clusters)
    challenged = clusters % 2 == 0
    return (
        ArmLosses(ratio * challenger[challenged], clusters[challenged]),
        ArmLosses(champion[~challenged], clusters[~challenged]),
    )


@pytest.mark.parametrize("is_paired", [True, False])
def test_bounds_hold_as_often_as_they_say(is_paired: bool) -> None:
    """Each one-sided bound at 95% is wrong in about 5% of 1,000 experiments, although rows of an entity are alike."""
    rng = np.random.default_rng(5)
    truth = 1 - np.sqrt(TRUE_RATIO)
    found = [arm_gain("regression", *arms(rng, is_paired=is_paired), 0.95) for _ in range(1000)]
    above = np.mean([truth > (gain.upper or 0) for gain in found])
    below = np.mean([truth < (gain.lower or 0) for gain in found])
    assert 0.025 < above < 0.08
    assert 0.025 < below < 0.08


def test_pairs_tell_more() -> None:
    """What makes an entity hard cancels."""
    rng = np.random.default_rng(6)
    widths = []
    for is_paired in (True, False):
        gain = arm_gain("binary", *arms(rng, is_paired=is_paired), 0.95)
        assert gain.lower is not None
        assert gain.upper is not None
        widths.append(gain.upper - gain.lower)
    assert widths[0] < 0.7 * widths[1]


def test_the_same_losses_gain_nothing() -> None:
    both, _ = arms(np.random.default_rng(7), is_paired=True)
    assert Gain(value=0.0, lower=0.0, upper=0.0) == arm_gain("binary", both, both, 0.95)


def test_a_regression_is_measured_by_its_root() -> None:
    rng = np.random.default_rng(8)
    losses, _ = arms(rng, is_paired=True)
    fourfold = ArmLosses(4 * losses.losses, losses.clusters)
    assert arm_gain("regression", fourfold, losses, 0.95).value == pytest.approx(-1)
    assert arm_gain("binary", fourfold, losses, 0.95).value == pytest.approx(-3)


def test_few_entities_have_no_interval() -> None:
    """However many rows they have."""
    clusters = np.repeat(np.arange(LEAST - 1), 1000)
    few = ArmLosses(np.random.default_rng(9).gamma(2.0, size=len(clusters)), clusters)
    gain = arm_gain("binary", few, few, 0.95)
    assert (0.0, None, None) == (gain.value, gain.lower, gain.upper)


@pytest.mark.parametrize("losses", [[], [0.0, 0.0]])
def test_without_losses_there_is_no_gain(losses: list[float]) -> None:
    some = ArmLosses(np.ones(2), np.arange(2))
    none = ArmLosses(np.array(losses, np.float64), np.arange(len(losses)))
    nothing = Gain(value=None, lower=None, upper=None)
    assert nothing == arm_gain("binary", none, some, 0.95) == arm_gain("binary", some, none, 0.95)
