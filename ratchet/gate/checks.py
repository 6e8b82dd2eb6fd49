"""The gate's checks. Each has a bound, a measured value and a status; the verdict follows from all of them.

The gate fails closed: a check passes only if its evidence is present, finite and within the bound.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Literal

from ratchet.core.frozen import Frozen
from ratchet.core.settings import GateSettings
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.gate.evidence import Evidence, FirstGains, Gain, Score, SliceScore
from ratchet.gate.plausibility import LEAST_ERROR, MOST_EXPLAINED
from ratchet.models.metrics import METRICS, finite

Direction = Literal[">", ">=", "<="]
Status = Literal["passed", "failed", "insufficient"]
Verdict = Literal["superior", "non-inferior", "refused", "undecided"]
SUPERIOR = "ratchet:superior"
OTHER_MODEL = "ratchet:another-model"
NEWER = "since-champion:"
"""The beginning of the checks that count the rows after the end of the champion's training rows."""
PLAUSIBLE = "plausible:"
_COMPARE = {">": operator.gt, ">=": operator.ge, "<=": operator.le}


class Check(Frozen):
    """One bound and the measured value. A value of None means that evidence is missing, and the check does not pass."""

    name: str
    value: float | None
    direction: Direction
    bound: float
    status: Status
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def run_checks(evidence: Evidence, policy: GateSettings) -> tuple[Check, ...]:
    """Every check, in a fixed order. The result depends on the arguments only.

    While too few rows are newer than the champion's training rows, nothing else is checked.
    """
    enough = (*_enough(evidence, policy),)
    if evidence.rolled_forward and not all(check.passed for check in enough):
        return (*enough, *_other_model(evidence))
    return (
        *enough,
        _label_coverage(evidence, policy),
        *_time(evidence),
        *_scored(evidence),
        _leaks(evidence.leaks),
        *_plausible(evidence),
        bounded("skill", evidence.skill, ">", policy.min_skill, "over the reference, on the same rows"),
        *_probabilities(evidence, policy),
        *_slices(evidence, policy),
        *_ratchet(evidence, policy),
    )


def verdict_of(checks: tuple[Check, ...]) -> Verdict:
    """Refused if any check failed; but non-inferior if only the check of superiority failed, and undecided if only rows are
    lacking that are newer than the champion's training rows."""
    failed = {check.name for check in checks if check.status == "failed"}
    if failed and all(name.startswith(NEWER) for name in failed):
        return "undecided"
    if failed - {SUPERIOR} or not checks:
        return "refused"
    return "non-inferior" if failed else "superior"


def same_checks(computed: Sequence[Check], stored: Sequence[Check]) -> bool:
    """Whether they decide the same: a record stays valid when the wording of a detail is improved."""
    plain = ([check.model_copy(update={"detail": ""}) for check in checks] for checks in (computed, stored))
    return next(plain) == next(plain)


def bounded(name: str, value: float | None, direction: Direction, bound: float, detail: str = "") -> Check:
    """The check of one value. Missing evidence does not pass."""
    measured = None if value is None else finite(value)
    passed = measured is not None and _COMPARE[direction](measured, bound)
    missing = "no evidence" if measured is None else ""
    return Check(
        name=name,
        value=measured,
        direction=direction,
        bound=bound,
        status="passed" if passed else "failed",
        detail="; ".join(filter(None, (missing, detail))),
    )


def _enough(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """Check that there are enough rows to judge on, in enough blocks."""
    prefix, detail = "", ""
    if evidence.rolled_forward:
        prefix, detail = NEWER, f"since {evidence.start:%Y-%m-%dT%H:%MZ}, where the champion's training rows end"
    yield bounded(f"{prefix}rows", evidence.n, ">=", policy.min_rows, detail)
    yield bounded(f"{prefix}blocks", evidence.blocks, ">=", policy.min_blocks, detail)


def _scored(evidence: Evidence) -> Iterator[Check]:
    """Check that every model predicted every row, has every metric of the task, and saw no label of the holdout."""
    roles = {"candidate": evidence.candidate, "reference": evidence.reference, "champion": evidence.champion}
    for role, score in roles.items():
        if score is None:
            continue
        absent = [name for name in METRICS[evidence.task] if _metric(score, name) is None]
        days = (evidence.start - score.trained_until).total_seconds() / 86_400
        yield bounded(f"predictions:{role}", score.invalid, "<=", 0, score.obstacle or "invalid ones")
        yield bounded(f"metrics:{role}", len(absent), "<=", 0, f"{', '.join(absent) or 'none'} without a value")
        yield bounded(f"trained_before:{role}", days, ">=", 0, "days before the first row")


def _label_coverage(evidence: Evidence, policy: GateSettings) -> Check:
    """Check that enough requests have an outcome: the ones that are known first may be the easy ones."""
    share = evidence.n / evidence.requests if evidence.requests else None
    detail = f"{evidence.n:,} of {evidence.requests:,} requests have a label"
    return bounded("label_coverage", share, ">=", policy.min_label_coverage, detail)


def _metric(score: Score, name: str) -> float | None:
    value = score.metrics.get(name)
    return None if value is None else finite(value)


def _time(evidence: Evidence) -> Iterator[Check]:
    """A check that never passes, if timestamps mean nothing: later rows may differ from those that the model was judged on."""
    if evidence.split == "entity":
        detail = "no time evidence: rows were split by entity, not by when they were known"
        yield bounded("time", None, ">=", 1, detail).model_copy(update={"status": "insufficient"})


def _leaks(leaks: LeakEvidence | None) -> Check:
    if leaks is None or leaks.unproved:
        unproved = ", ".join(leaks.unproved) if leaks else "all tables"
        return bounded("leaks", None, "<=", 0, f"no row was compared, or no row hidden, for {unproved}")
    changed = sorted(name for name, rows in leaks.changed.items() if rows)
    detail = f"rows changed in {', '.join(changed) or 'nothing'}"
    if leaks.upstream:
        detail += f"; not recomputed: {', '.join(leaks.upstream)}, which another system says were available in time"
    return bounded("leaks", sum(leaks.changed.values()), "<=", 0, detail)


def _plausible(evidence: Evidence) -> Iterator[Check]:
    """Check that the model is not too good to be true, unless a person signed a reason."""
    fit, skill = evidence.linear_fit, evidence.skill
    by = f"by {', '.join(fit.columns)}" if fit.columns else "by the inputs"
    explained = f"of the label's variance explained {by} in a linear fit"
    yield _or_reason(bounded(f"{PLAUSIBLE}linear-fit", fit.explained, "<=", MOST_EXPLAINED, explained), evidence)
    ratio = None if skill is None else 1 - skill
    yield _or_reason(bounded(f"{PLAUSIBLE}error", ratio, ">=", LEAST_ERROR, "of the reference's error"), evidence)


def _or_reason(check: Check, evidence: Evidence) -> Check:
    """The check, which also passes if its value is too good and a person signed a reason. No reason covers missing evidence."""
    if check.passed or check.value is None:
        return check
    if evidence.reason:
        detail = f"{check.detail}; accepted by {evidence.reason.by}: {evidence.reason.reason}"
        return check.model_copy(update={"status": "passed", "detail": detail})
    remedy = "remove inputs that are not known in time, or sign why they are: `ratchet accept too-good --reason …`"
    detail = "; ".join(filter(None, (check.detail, "too good to be true", evidence.objection, remedy)))
    return check.model_copy(update={"detail": detail})


def _probabilities(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """For a binary task: check that probabilities are near the observed rates, and rank rows as well as the reference."""
    if evidence.task != "binary":
        return
    error = _metric(evidence.candidate, "calibration_error")
    yield bounded("calibration", error, "<=", policy.max_calibration_error, "mean distance from the observed rates")
    auc, other = (_metric(score, "auc") for score in (evidence.candidate, evidence.reference))
    gain = None if auc is None or other is None else auc - other
    yield bounded("ranking", gain, ">=", -policy.max_auc_loss, "AUC minus the reference's")


def _slices(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """A check for each slice; and for each column, that its slices hold every row and at least one could be judged."""
    for column in evidence.slice_columns:
        own = [score for score in evidence.slices if score.column == column]
        judged = sum(score.n >= policy.min_slice_rows for score in own)
        is_whole = sum(score.n for score in own) >= evidence.n
        detail = f"of {len(own)} have {policy.min_slice_rows} rows"
        yield bounded(f"slices:{column}", judged if is_whole else None, ">=", 1, detail)
        yield from (_slice(score, policy) for score in own)


def _slice(score: SliceScore, policy: GateSettings) -> Check:
    name = f"slice:{score.column}={score.value}"
    check = bounded(name, score.skill, ">=", policy.min_slice_skill, f"{score.n} rows")
    return check if score.n >= policy.min_slice_rows else check.model_copy(update={"status": "insufficient"})


def _ratchet(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """Check that the model differs from the champion, and that the lower bound of the paired gain is high enough."""
    champion, gain = evidence.champion, evidence.gain
    if champion is None:
        yield bounded("ratchet:no-champion", 0, "<=", 0, "nothing serves")
        yield from _first(evidence, policy)
        return
    yield from _other_model(evidence)
    bounds = {"ratchet:non-inferior": -policy.non_inferiority_margin, SUPERIOR: policy.min_gain}
    for name, bound in bounds.items():
        yield bounded(name, _lower(gain), ">", bound, "lower bound of the gain")


def _other_model(evidence: Evidence) -> Iterator[Check]:
    """Check that the candidate is not the champion itself."""
    same = evidence.champion is not None and evidence.champion.digest == evidence.candidate.digest
    yield bounded(OTHER_MODEL, int(not same), ">=", 1, "identical to the champion" if same else "")


def _first(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """If nothing serves: check that the model beats the reference and a constant by more than chance."""
    first = evidence.first or FirstGains(over_reference=None, over_constant=None)
    gains = {"reference": first.over_reference, "constant": first.over_constant}
    for name, gain in gains.items():
        yield bounded(
            f"first:over-{name}", _lower(gain), ">", policy.min_gain, f"lower bound of the gain over the {name}"
        )


def _lower(gain: Gain | None) -> float | None:
    return gain.lower if gain else None
