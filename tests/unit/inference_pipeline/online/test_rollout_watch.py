"""When a challenger is taken back: for failures and slow answers that are more than chance, and for nothing else."""

from __future__ import annotations

import pytest

from inference_pipeline.online.rollout_watch import RolloutWatch
from ratchet.core.serving_settings import RolloutSettings

SETTINGS = RolloutSettings(min_answers=100, max_failures=0.01, max_slowdown=2.0)


def watch(champion: float, challenger: float, answers: int = 100, failures: int = 0, every: int = 1) -> RolloutWatch:
    """Answers of both arms that took so many seconds; of the challenger's, only each `every`th, and others a millisecond."""
    found = RolloutWatch(SETTINGS)
    for number in range(answers):
        found.answered("champion", champion)
        found.answered("challenger", challenger if number % every == 0 else 0.001)
    for _ in range(failures):
        found.failed(ValueError("no"))
    return found


@pytest.mark.parametrize(
    ("watched", "reason"),
    [
        (watch(0.001, 0.001), ""),
        (watch(0.010, 0.019), ""),
        (watch(0.010, 0.021), "95% of its answers took up to 21.0 ms, of the champion's 10.0 ms"),
        (watch(0.0002, 0.0009), ""),
        (watch(0.001, 0.100, every=50), ""),
        (watch(0.001, 0.100, every=10), "took up to 100.0 ms"),
        (watch(0.010, 0.021, answers=99), ""),
        (watch(0.001, 0.001, answers=98, failures=1), ""),
        (watch(0.001, 0.001, answers=200, failures=2), ""),
        (watch(0.001, 0.001, answers=200, failures=3), "it failed on 3 of 203 requests (ValueError: no)"),
        (watch(0.001, 0.001, answers=0, failures=100), "it failed on 100 of 100"),
    ],
)
def test_what_is_objected(watched: RolloutWatch, reason: str) -> None:
    """A fraction of a millisecond is nothing; a few slow answers are nothing; before there are enough, nothing is said."""
    assert reason in watched.objection()
    assert bool(reason) == bool(watched.objection())


def test_in_the_shadow_only_failures_count() -> None:
    """Nobody waits for what it predicts."""
    found = RolloutWatch(SETTINGS)
    for _ in range(100):
        found.answered("champion", 0.001)
    found.mirrored(1000)
    assert not found.objection()
    for _ in range(20):
        found.failed(ValueError("no"))
    assert "it failed on 20 of 1,020" in found.objection()


def test_the_last_answers_count() -> None:
    """A slow beginning is forgotten."""
    found = watch(0.001, 0.5, answers=200)
    assert found.objection()
    for _ in range(1000):
        found.answered("challenger", 0.001)
    assert not found.objection()
