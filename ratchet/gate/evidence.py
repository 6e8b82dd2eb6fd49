"""What the gate looks at: how models did on one holdout, and whether their features leak."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AwareDatetime, NonNegativeInt

from ratchet.core.settings import Frozen
from ratchet.gate.plausibility import LinearFit
from ratchet.gate.reasons import Reason
from ratchet.use_case.contract import Split, Task


class Score(Frozen):
    """How one model did on the holdout's rows: `invalid` counts predictions that are not finite, or no probability, and
    `obstacle` says why it could not be asked for any."""

    digest: str
    trained_until: AwareDatetime
    invalid: NonNegativeInt | None
    metrics: dict[str, float | None]
    obstacle: str = ""


class SliceScore(Frozen):
    """Skill over the reference on the rows where `column` has `value`; None where there was nothing to divide."""

    column: str
    value: str
    n: NonNegativeInt
    skill: float | None


class Gain(Frozen):
    """1 − error(candidate) / error(another model), paired, with bootstrap bounds at the policy's confidence."""

    value: float | None
    lower: float | None
    upper: float | None


class FirstGains(Frozen):
    """What a model that would be the first to serve gains over its reference and over one constant value."""

    over_reference: Gain | None
    over_constant: Gain | None


class LeakComparison(Frozen):
    """One table recomputed on sources cut off at some instants, in rows: those `compared` and those `changed`, the source rows
    that became known `later`, and how many of these the cut-offs hid."""

    cut_offs: tuple[AwareDatetime, ...]
    compared: NonNegativeInt
    later: NonNegativeInt
    hidden: NonNegativeInt
    changed: NonNegativeInt

    @classmethod
    def nothing(cls) -> LeakComparison:
        return cls(cut_offs=(), compared=0, later=0, hidden=0, changed=0)

    @classmethod
    def total(cls, parts: Sequence[LeakComparison]) -> LeakComparison:
        """The sum over several cut-offs."""
        sums = {name: sum(getattr(part, name) for part in parts) for name in ("compared", "later", "hidden", "changed")}
        return cls(cut_offs=tuple(at for part in parts for at in part.cut_offs), **sums)

    @property
    def is_evidence(self) -> bool:
        """Rows were compared, and what came later was hidden from them, if anything did."""
        return self.compared > 0 and (self.hidden > 0 or not self.later)


class LeakEvidence(Frozen):
    """What the leak check showed of each view, and of `requests` and `labels`."""

    tables: dict[str, LeakComparison]

    @property
    def changed(self) -> dict[str, int]:
        """Rows that changed, by table."""
        return {name: found.changed for name, found in self.tables.items()}

    @property
    def unproved(self) -> list[str]:
        """The tables of which nothing is shown."""
        expected = {"requests", "labels"} - self.tables.keys()
        return sorted(expected | {name for name, found in self.tables.items() if not found.is_evidence})

    @property
    def passed(self) -> bool:
        return not self.unproved and not any(self.changed.values())


class Evidence(Frozen):
    """All that the gate looks at. Every model was scored on the same `n` rows: the requests of [start, end) with a label.

    `linear_fit` is that of the label on the inputs that the candidate uses. `reason` is a person's signed one, checked already,
    or `objection` says why the one that there is does not count. `first` is there where nothing serves and no champion is
    compared with.
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
