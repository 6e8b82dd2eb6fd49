"""The gate's checks. Each has a bound, a measured value and a status; the verdict follows from all of them.

The gate fails closed: a check passes only if its evidence is present, finite and within the bound.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Literal

from ratchet.core.settings import Frozen, GateSettings
from ratchet.features.leak_evidence import LeakEvidence
from ratchet.gate.evidence import Evidence, FirstGains, Gain, Score, SliceScore
from ratchet.gate.plausibility import LEAST_ERROR, MOST_EXPLAINED
from ratchet.models.metrics import METRICS, finite

Direction = Literal[">", ">=", "<="]
Status = Literal["passed", "failed", "insufficient"]
Verdict = Literal["superior", "non-inferior", "refused"]
SUPERIOR = "ratchet:superior"
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
    """Every check, in a fixed order. The result depends on the arguments only."""
    return (
        _check("rows", evidence.n, ">=", policy.min_rows),
        _check("blocks", evidence.blocks, ">=", policy.min_blocks),
        _label_coverage(evidence, policy),
        *_time(evidence),
        *_scored(evidence),
        _leaks(evidence.leaks),
        *_plausible(evidence),
        _check("skill", evidence.skill, ">", policy.min_skill, "over the reference, on the same rows"),
        *_probabilities(evidence, policy),
        *_slices(evidence, policy),
        *_ratchet(evidence, policy),
    )


def verdict_of(checks: tuple[Check, ...]) -> Verdict:
    """Refused if any check failed; but non-inferior if only the check of superiority failed."""
    failed = {check.name for check in checks if check.status == "failed"}
    if failed - {SUPERIOR} or not checks:
        return "refused"
    return "non-inferior" if failed else "superior"


def _check(name: str, value: float | None, direction: Direction, bound: float, detail: str = "") -> Check:
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


def _scored(evidence: Evidence) -> Iterator[Check]:
    """Check that every model predicted every row, has every metric of the task, and saw no label of the holdout."""
    roles = {"candidate": evidence.candidate, "reference": evidence.reference, "champion": evidence.champion}
    for role, score in roles.items():
        if score is None:
            continue
        absent = [name for name in METRICS[evidence.task] if _metric(score, name) is None]
        days = (evidence.start - score.trained_until).total_seconds() / 86_400
        yield _check(f"predictions:{role}", score.invalid, "<=", 0, score.obstacle or "invalid ones")
        yield _check(f"metrics:{role}", len(absent), "<=", 0, f"{', '.join(absent) or 'none'} without a value")
        yield _check(f"trained_before:{role}", days, ">=", 0, "days before the first row")


def _label_coverage(evidence: Evidence, policy: GateSettings) -> Check:
    """Check that enough requests have an outcome: the ones that are known first may be the easy ones."""
    share = evidence.n / evidence.requests if evidence.requests else None
    detail = f"{evidence.n:,} of {evidence.requests:,} requests have a label"
    return _check("label_coverage", share, ">=", policy.min_label_coverage, detail)


def _metric(score: Score, name: str) -> float | None:
    value = score.metrics.get(name)
    return None if value is None else finite(value)


def _time(evidence: Evidence) -> Iterator[Check]:
    """A check that never passes, if timestamps mean nothing: later rows may differ from those that the model was judged on."""
    if evidence.split == "entity":
        detail = "no time evidence: rows were split by entity, not by when they were known"
        yield _check("time", None, ">=", 1, detail).model_copy(update={"status": "insufficient"})


def _leaks(leaks: LeakEvidence | None) -> Check:
    if leaks is None or leaks.unproved:
        unproved = ", ".join(leaks.unproved) if leaks else "all tables"
        return _check("leaks", None, "<=", 0, f"no row was compared, or no row hidden, for {unproved}")
    changed = sorted(name for name, rows in leaks.changed.items() if rows)
    return _check("leaks", sum(leaks.changed.values()), "<=", 0, f"rows changed in {', '.join(changed) or 'nothing'}")


def _plausible(evidence: Evidence) -> Iterator[Check]:
    """Check that the model is not too good to be true, unless a person signed a reason."""
    fit, skill = evidence.linear_fit, evidence.skill
    by = f"by {', '.join(fit.columns)}" if fit.columns else "by the inputs"
    explained = f"of the label's variance explained {by} in a linear fit"
    yield _or_reason(_check(f"{PLAUSIBLE}linear-fit", fit.explained, "<=", MOST_EXPLAINED, explained), evidence)
    ratio = None if skill is None else 1 - skill
    yield _or_reason(_check(f"{PLAUSIBLE}error", ratio, ">=", LEAST_ERROR, "of the reference's error"), evidence)


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
    yield _check("calibration", error, "<=", policy.max_calibration_error, "mean distance from the observed rates")
    auc, other = (_metric(score, "auc") for score in (evidence.candidate, evidence.reference))
    gain = None if auc is None or other is None else auc - other
    yield _check("ranking", gain, ">=", -policy.max_auc_loss, "AUC minus the reference's")


def _slices(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """A check for each slice; and for each column, that its slices hold every row and at least one could be judged."""
    for column in evidence.slice_columns:
        own = [score for score in evidence.slices if score.column == column]
        judged = sum(score.n >= policy.min_slice_rows for score in own)
        is_whole = sum(score.n for score in own) >= evidence.n
        detail = f"of {len(own)} have {policy.min_slice_rows} rows"
        yield _check(f"slices:{column}", judged if is_whole else None, ">=", 1, detail)
        yield from (_slice(score, policy) for score in own)


def _slice(score: SliceScore, policy: GateSettings) -> Check:
    name = f"slice:{score.column}={score.value}"
    check = _check(name, score.skill, ">=", policy.min_slice_skill, f"{score.n} rows")
    return check if score.n >= policy.min_slice_rows else check.model_copy(update={"status": "insufficient"})


def _ratchet(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """Check that the model differs from the champion, and that the lower bound of the paired gain is high enough."""
    champion, gain = evidence.champion, evidence.gain
    if champion is None:
        yield _check("ratchet:no-champion", 0, "<=", 0, "nothing serves")
        yield from _first(evidence, policy)
        return
    same = champion.digest == evidence.candidate.digest
    yield _check("ratchet:another-model", int(not same), ">=", 1, "identical to the champion" if same else "")
    bounds = {"ratchet:non-inferior": -policy.non_inferiority_margin, SUPERIOR: policy.min_gain}
    for name, bound in bounds.items():
        yield _check(name, _lower(gain), ">", bound, "lower bound of the gain")


def _first(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """If nothing serves: check that the model beats the reference and a constant by more than chance."""
    first = evidence.first or FirstGains(over_reference=None, over_constant=None)
    gains = {"reference": first.over_reference, "constant": first.over_constant}
    for name, gain in gains.items():
        yield _check(
            f"first:over-{name}", _lower(gain), ">", policy.min_gain, f"lower bound of the gain over the {name}"
        )


def _lower(gain: Gain | None) -> float | None:
    return gain.lower if gain else None
