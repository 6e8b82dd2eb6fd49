"""The evidence for the gate: how models did on one holdout, and whether their features leak."""

from __future__ import annotations

from pydantic import AwareDatetime, NonNegativeInt

from ratchet.core.frozen import Frozen
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.gate.plausibility import LinearFit
from ratchet.gate.reasons import Reason
from ratchet.use_case.contract import Split, Task


class Score(Frozen):
    """How one model did on the holdout's rows. `invalid` counts predictions that are not finite or not a probability, and
    `obstacle` says why the model could not predict at all."""

    digest: str
    trained_until: AwareDatetime
    invalid: NonNegativeInt | None
    metrics: dict[str, float | None]
    obstacle: str = ""


class SliceScore(Frozen):
    """Skill over the reference on the rows where `column` has `value`; None if the reference's error is 0 or unknown."""

    column: str
    value: str
    n: NonNegativeInt
    skill: float | None


class Gain(Frozen):
    """1 − error(candidate) / error(other model) on the same rows, with bootstrap bounds at the policy's confidence."""

    value: float | None
    lower: float | None
    upper: float | None


class FirstGains(Frozen):
    """The gains of a model that would be the first to serve: over its reference, and over one constant value."""

    over_reference: Gain | None
    over_constant: Gain | None


class Evidence(Frozen):
    """All evidence for the gate. Every model was scored on the same `n` rows: the requests of [start, end) with a label.

    `linear_fit` is the fit of the label on the inputs that the candidate uses. `reason` is a person's signed reason, already
    verified; if the existing one does not count, `objection` says why. `first` is set if nothing serves, so that there is no
    champion to compare with.
    """

    task: Task
    requests: NonNegativeInt
    n: NonNegativeInt
    blocks: NonNegativeInt
    start: AwareDatetime
    end: AwareDatetime
    rolled_forward: bool
    split: Split
    candidate: Score
    reference: Score
    champion: Score | None
    skill: float | None
    slice_columns: tuple[str, ...]
    slices: tuple[SliceScore, ...]
    gain: Gain | None
    first: FirstGains | None
    linear_fit: LinearFit
    reason: Reason | None
    objection: str
    leaks: LeakEvidence | None
