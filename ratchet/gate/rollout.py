"""A rollout lets a challenger answer beside the champion, step by step. Each change of it is a signed document."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, NonNegativeInt, TypeAdapter, model_validator

from ratchet.core.frozen import Frozen
from ratchet.gate.signing import Signed

SHADOW, STANDBY = "shadow", "standby"
Step = Literal["shadow", "standby"] | Annotated[int, Field(ge=1, le=100, strict=True)]
"""What the challenger does: it predicts what the champion answers (shadow), it is loaded and does nothing (standby), or it
answers this share of the callers, in percent."""
Steps = Annotated[tuple[Step, ...], Field(min_length=1)]


def share_of(step: Step) -> int:
    return step if isinstance(step, int) else 0


def says(step: Step) -> str:
    """A step in words."""
    return (
        f"answers {step}%" if isinstance(step, int) else {SHADOW: "predicts in the shadow", STANDBY: "stands by"}[step]
    )


class Plan(Frozen):
    """The steps of a rollout. After the last one, the challenger is promoted."""

    steps: Steps

    @model_validator(mode="after")
    def _never_goes_back(self) -> Self:
        """So that who once got the challenger's answers keeps getting them."""
        order = [share_of(step) for step in self.steps]
        if len({*self.steps}) != len(self.steps) or order != sorted(order):
            raise ValueError("each step must give the challenger a larger share than the one before")
        return self


STRATEGIES = {
    "shadow": Plan(steps=(SHADOW,)),
    "canary": Plan(steps=(SHADOW, 10, 50)),
    "ab": Plan(steps=(50,)),
    "blue-green": Plan(steps=(STANDBY, 100)),
}
"""The usual plans by their names."""
Change = Literal["start", "advance", "abort"]


class Rollout(Signed):
    """One change of a rollout: its start, a step on, or its end. The last one says what the challenger does now.

    `number` is its place among all changes of the registered model, `started` that of its rollout's start. `champion` is the
    digest of the model that the challenger runs beside, and `promotion` the number of the entry in the history by which that
    serves: any later one ends the rollout.
    """

    model_name: str
    number: int
    started: int
    kind: Change
    version: int
    digest: str
    champion: str
    promotion: int
    plan: Plan
    at_step: NonNegativeInt
    by: str = Field(min_length=1)
    reason: str
    at: AwareDatetime

    @property
    def step(self) -> Step:
        return self.plan.steps[self.at_step]

    @property
    def next_step(self) -> Step | None:
        """None if the challenger is to be promoted next."""
        return self.plan.steps[self.at_step + 1] if self.at_step + 1 < len(self.plan.steps) else None

    @property
    def share(self) -> int:
        """The share of callers whom the challenger answers, in percent."""
        return share_of(self.step)

    @property
    def mirrors(self) -> bool:
        """Whether the challenger also predicts what the champion answers."""
        return self.step == SHADOW

    @model_validator(mode="after")
    def _is_at_a_step(self) -> Self:
        if self.at_step >= len(self.plan.steps):
            raise ValueError("at_step is none of its steps")
        return self


def parsed_step(text: str) -> Step:
    """A step from a command line. Raises pydantic's ValidationError."""
    number = text.strip().removesuffix("%")
    return _STEP.validate_python(int(number) if number.isdecimal() else number)


_STEP: TypeAdapter[Step] = TypeAdapter(Step)
