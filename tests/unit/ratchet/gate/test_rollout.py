"""The steps of a rollout."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from ratchet.gate.rollout import STRATEGIES, Plan, Rollout, parsed_step, says


def change(*steps: Any, at_step: int = 0) -> Rollout:
    return Rollout(
        model_name="m",
        number=1,
        started=1,
        kind="start",
        version=2,
        digest="d",
        champion="c",
        promotion=1,
        plan=Plan(steps=steps),
        at_step=at_step,
        by="ann",
        reason="a try",
        at=datetime(2024, 8, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("steps", [(), (0,), (101,), (1.5,), (True,), ("all",), (50, 10), (10, 10), (10, "shadow")])
def test_steps_only_ever_grow(steps: tuple[Any, ...]) -> None:
    """So that who once got the challenger's answers keeps them; the shadow comes before the first answer."""
    with pytest.raises(ValidationError):
        Plan(steps=steps)


@pytest.mark.parametrize(
    ("at_step", "share", "mirrors", "following", "words"),
    [
        (0, 0, True, 10, "predicts in the shadow"),
        (1, 10, False, 50, "answers 10%"),
        (2, 50, False, None, "answers 50%"),
    ],
)
def test_each_step_of_a_canary(at_step: int, share: int, mirrors: bool, following: int | None, words: str) -> None:
    found = change(*STRATEGIES["canary"].steps, at_step=at_step)
    assert (share, mirrors, following, words) == (found.share, found.mirrors, found.next_step, says(found.step))


def test_a_challenger_that_stands_by_does_nothing() -> None:
    found = change(*STRATEGIES["blue-green"].steps)
    assert (0, False, 100, "stands by") == (found.share, found.mirrors, found.next_step, says(found.step))


def test_a_change_is_at_one_of_its_steps() -> None:
    with pytest.raises(ValidationError, match="none of its steps"):
        change("shadow", at_step=1)


@pytest.mark.parametrize(("text", "step"), [("shadow", "shadow"), (" standby", "standby"), ("5", 5), ("100%", 100)])
def test_a_step_on_the_command_line(text: str, step: Any) -> None:
    assert step == parsed_step(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "all", "101%", "²"])
def test_what_is_no_step(text: str) -> None:
    with pytest.raises((ValidationError, ValueError)):
        parsed_step(text)
