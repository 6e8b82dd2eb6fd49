"""Whether a refit keeps what its judged model promised: both are compared on rows that neither was fitted on.

The question is asked until there are enough rows, and answered once.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, NonNegativeInt

from ratchet.core.errors import GateError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import GateSettings
from ratchet.gate.evidence import Gain, Score
from ratchet.gate.gate import Gate
from ratchet.gate.record import counted
from ratchet.gate.signing import Signed

Outcome = Literal["pending", "confirmed", "withdrawn"]


class Comparison(Frozen):
    """A refit and its judged model on the same `n` rows: the requests of [start, end) with a label."""

    start: AwareDatetime
    end: AwareDatetime
    requests: NonNegativeInt
    n: NonNegativeInt
    blocks: NonNegativeInt
    refit: Score
    judged: Score
    gain: Gain


class Confirmation(Signed):
    """What later rows say about a refit: too few yet, not shown to be worse, or withdrawn in favour of its judged model."""

    model_name: str
    comparison: Comparison
    policy: GateSettings
    outcome: Outcome
    reason: str

    @property
    def refit(self) -> str:
        """Digest of the refit."""
        return self.comparison.refit.digest

    @property
    def judged(self) -> str:
        """Digest of its judged model."""
        return self.comparison.judged.digest


def confirm(model_name: str, comparison: Comparison, policy: GateSettings) -> Confirmation:
    """The unsigned answer that follows from the comparison."""
    outcome, reason = _answer(comparison, policy)
    return Confirmation(model_name=model_name, comparison=comparison, policy=policy, outcome=outcome, reason=reason)


def _answer(found: Comparison, policy: GateSettings) -> tuple[Outcome, str]:
    if lacking := _lacking(found, policy):
        return "pending", lacking
    if found.judged.invalid != 0:
        return (
            "pending",
            f"its judged model cannot be compared: {found.judged.obstacle or 'it has invalid predictions'}",
        )
    if found.refit.invalid != 0:
        return (
            "withdrawn",
            f"{found.refit.invalid} of its {found.n:,} predictions are invalid {found.refit.obstacle}".strip(),
        )
    upper = found.gain.upper
    if upper is None:
        return "withdrawn", "its gain over its judged model has no bound"
    measured = f"gain over its judged model at most {upper:.2%} on {found.n:,} rows since {found.start:%Y-%m-%dT%H:%MZ}"
    return (
        ("withdrawn", f"shown to be worse: {measured}")
        if upper < 0
        else ("confirmed", f"not shown to be worse: {measured}")
    )


def _lacking(found: Comparison, policy: GateSettings) -> str:
    """What the gate's minimums still lack; empty if they are met."""
    since = f"since its training rows end on {found.start:%Y-%m-%dT%H:%MZ}"
    if found.blocks < policy.min_blocks:
        return f"{found.blocks} of {policy.min_blocks} {counted(policy.block)} {since}"
    if found.n < policy.min_rows:
        return f"{found.n:,} of {policy.min_rows:,} rows {since}"
    if found.n < policy.min_label_coverage * found.requests:
        return f"{found.n:,} of {found.requests:,} requests {since} have a label"
    return ""


def verify_confirmation(confirmation: Confirmation, gate: Gate) -> None:
    """Raises GateError unless it is signed, about this model name, and its outcome follows from its comparison."""
    remedy = f"Run `ratchet --use-case {gate.scope.use_case} stage evaluate`: it asks again"
    gate.key.verify(confirmation, remedy)
    computed = _answer(confirmation.comparison, confirmation.policy)[0]
    if (confirmation.model_name, confirmation.outcome) != (gate.scope.namespace, computed):
        raise GateError(
            "it does not follow from its comparison, or is about another model",
            subject=f"confirmation of a refit of {gate.scope.namespace}",
            remedy=remedy,
        )
