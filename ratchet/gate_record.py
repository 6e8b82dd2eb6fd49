"""The gate: evidence in, checks and a verdict out, under a signature.

It fails closed. A check passes only when its evidence is there, finite and within the bound; the verdict follows from the
checks, the checks from the evidence, and whoever uses a record derives both again instead of believing them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, Field, NonNegativeInt, ValidationError

from ratchet.errors import GateError
from ratchet.metrics import METRICS, finite
from ratchet.project import Project
from ratchet.settings import Frozen, GateSettings
from ratchet.signing import Signed, check_signature
from ratchet.tables import write_text
from ratchet.use_case import Split, Task

if TYPE_CHECKING:
    from ratchet.model import Contract

Direction = Literal[">", ">=", "<="]
Status = Literal["passed", "failed", "insufficient"]
Verdict = Literal["superior", "non-inferior", "refused"]
SUPERIOR = "ratchet:superior"
_COMPARE = {">": operator.gt, ">=": operator.ge, "<=": operator.le}


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
    """1 − error(candidate) / error(champion), paired, with bootstrap bounds at the policy's confidence."""

    value: float | None
    lower: float | None
    upper: float | None


class LeakEvidence(Frozen):
    """What recomputing features on sources cut off at some instants showed; `changed` counts rows by table."""

    cut_offs: tuple[AwareDatetime, ...]
    hidden_rows: NonNegativeInt
    compared_rows: NonNegativeInt
    changed: dict[str, NonNegativeInt]


class Evidence(Frozen):
    """All that the gate looks at. Every model was scored on the same `n` rows of [start, end)."""

    task: Task
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
    leaks: LeakEvidence | None


class Check(Frozen):
    """One bound and what was measured against it; no value is missing evidence, and no pass."""

    name: str
    value: float | None
    direction: Direction
    bound: float
    status: Status
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


class GateRecord(Signed):
    """What was decided about one model, from which evidence, by which policy, on which data and code.

    `files` are those that the model was judged from, name → SHA-256: others are not even parsed.
    """

    model_name: str
    kind: str
    data_version: str
    feature_service: str
    fingerprint: str
    commit: str | None
    dirty: bool
    files: dict[str, str]
    evidence: Evidence
    policy: GateSettings
    checks: tuple[Check, ...]
    verdict: Verdict

    @property
    def candidate(self) -> str:
        """Digest of the model that the record is about."""
        return self.evidence.candidate.digest

    @property
    def reference(self) -> str:
        """Digest of the model that skill is measured over."""
        return self.evidence.reference.digest

    @property
    def champion(self) -> str | None:
        """Digest of the model that it was compared with; None where nothing served."""
        return self.evidence.champion.digest if self.evidence.champion else None


class Waiver(Signed):
    """A person's signed word that a non-inferior model may serve, until it expires."""

    model_name: str
    candidate: str
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: AwareDatetime


def judge(evidence: Evidence, policy: GateSettings) -> tuple[Check, ...]:
    """Every check, in a fixed order; a function of its arguments alone."""
    return (
        _check("rows", evidence.n, ">=", policy.min_rows),
        _check("blocks", evidence.blocks, ">=", policy.min_blocks),
        *_time(evidence),
        *_scored(evidence),
        _leaks(evidence.leaks),
        _check("skill", evidence.skill, ">", policy.min_skill, "over the reference, on the same rows"),
        *_probabilities(evidence, policy),
        *_slices(evidence, policy),
        *_ratchet(evidence, policy),
    )


def decide(checks: tuple[Check, ...]) -> Verdict:
    """Refused on any failed check, but for superiority: without that alone it is non-inferior."""
    failed = {check.name for check in checks if check.status == "failed"}
    if failed - {SUPERIOR} or not checks:
        return "refused"
    return "non-inferior" if failed else "superior"


def conclude(
    contract: Contract,
    evidence: Evidence,
    policy: GateSettings,
    *,
    files: dict[str, str],
    data_version: str,
    commit: str | None,
    dirty: bool,
) -> GateRecord:
    """The record, still unsigned, of a model judged on this data by this code."""
    checks = judge(evidence, policy)
    return GateRecord(
        model_name=contract.model_name,
        kind=contract.kind,
        data_version=data_version,
        feature_service=contract.feature_service,
        fingerprint=contract.fingerprint,
        commit=commit,
        dirty=dirty,
        files=files,
        evidence=evidence,
        policy=policy,
        checks=checks,
        verdict=decide(checks),
    )


def verify(record: GateRecord, digest: str, project: Project) -> None:
    """Raises GateError unless the record is about this very model, signed, and says what its own evidence says."""
    check_signature(record, project)
    if record.candidate != digest:
        raise _refusal(f"it is about model {record.candidate[:12]}, not {digest[:12]}", project)
    if record.model_name != project.namespace:
        raise _refusal(f"it is about {record.model_name}", project)
    checks = judge(record.evidence, record.policy)
    if checks != record.checks or decide(checks) != record.verdict:
        raise _refusal("its verdict does not follow from its evidence", project)


def admit(record: GateRecord, digest: str, serving: str | None, waiver: Waiver | None, project: Project) -> None:
    """Raises GateError unless the model may take the place of the one that serves (a digest, or None)."""
    verify(record, digest, project)
    if record.policy != project.settings.gate:
        raise _refusal("it was judged by other bounds than params.yaml has now", project)
    if record.champion != serving:
        compared, serves = (name[:12] if name else "nothing" for name in (record.champion, serving))
        raise _refusal(f"it compares with {compared}, but {serves} serves", project)
    if record.verdict == "refused":
        failed = [check.name for check in record.checks if check.status == "failed"]
        raise _refusal(f"it failed {', '.join(failed)}", project)
    if record.verdict == "non-inferior":
        _check_waiver(waiver, digest, project)


def read(path: Path) -> GateRecord:
    """The record in a file, unverified. Raises GateError where there is none."""
    try:
        return GateRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise GateError(
            f"is no gate record ({' '.join(str(error).split())})",
            subject=str(path),
            remedy="Run the evaluate stage; a model without a record does not serve",
        ) from error


def write(record: GateRecord, path: Path) -> None:
    write_text(path, record.model_dump_json(indent=2) + "\n")


def _refusal(problem: str, project: Project) -> GateError:
    return GateError(problem, subject=f"gate record of {project.namespace}", remedy="Evaluate the model again")


def _check_waiver(waiver: Waiver | None, digest: str, project: Project) -> None:
    if waiver is None:
        raise GateError(
            "not shown to be better, only not to be worse",
            subject=f"gate record of {project.namespace}",
            remedy="Promote it with `--reason` and `--until`, or train a better one",
        )
    check_signature(waiver, project)
    about = (waiver.model_name, waiver.candidate)
    if about != (project.namespace, digest) or waiver.expires <= project.clock.now():
        raise GateError(
            f"it is for {waiver.model_name} {waiver.candidate[:12]} until {waiver.expires.isoformat()}",
            subject=f"waiver by {waiver.by}",
            remedy="Promote the model again with a new reason and date",
        )


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
    """Every model predicted every row, has every metric of the task, and saw no label of the holdout."""
    roles = {"candidate": evidence.candidate, "reference": evidence.reference, "champion": evidence.champion}
    for role, score in roles.items():
        if score is None:
            continue
        absent = [name for name in METRICS[evidence.task] if _metric(score, name) is None]
        days = (evidence.start - score.trained_until).total_seconds() / 86_400
        yield _check(f"predictions:{role}", score.invalid, "<=", 0, score.obstacle or "invalid ones")
        yield _check(f"metrics:{role}", len(absent), "<=", 0, f"{', '.join(absent) or 'none'} without a value")
        yield _check(f"trained_before:{role}", days, ">=", 0, "days before the first row")


def _metric(score: Score, name: str) -> float | None:
    value = score.metrics.get(name)
    return None if value is None else finite(value)


def _time(evidence: Evidence) -> Iterator[Check]:
    """Listed, never passed, where moments say nothing: later rows may differ from those that the model was judged on."""
    if evidence.split == "entity":
        detail = "no time evidence: rows were split by entity, not by when they were known"
        yield _check("time", None, ">=", 1, detail).model_copy(update={"status": "insufficient"})


def _leaks(leaks: LeakEvidence | None) -> Check:
    if leaks is None or not leaks.cut_offs or not leaks.hidden_rows or not leaks.compared_rows:
        return _check("leaks", None, "<=", 0, "nothing was cut off and compared")
    if not leaks.changed.keys() >= {"requests", "labels"}:
        return _check("leaks", None, "<=", 0, "requests and labels were not both compared")
    changed = sorted(name for name, rows in leaks.changed.items() if rows)
    return _check("leaks", sum(leaks.changed.values()), "<=", 0, f"rows changed in {', '.join(changed) or 'nothing'}")


def _probabilities(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """Where predictions are probabilities: they are near the rates that came true, and rank rows as well as the reference."""
    if evidence.task != "binary":
        return
    error = _metric(evidence.candidate, "calibration_error")
    yield _check(
        "calibration", error, "<=", policy.max_calibration_error, "mean distance from the rates that came true"
    )
    auc, other = (_metric(score, "auc") for score in (evidence.candidate, evidence.reference))
    gain = None if auc is None or other is None else auc - other
    yield _check("ranking", gain, ">=", -policy.max_auc_loss, "auc over the reference's")


def _slices(evidence: Evidence, policy: GateSettings) -> Iterator[Check]:
    """A check for each slice, and for each column that its slices hold every row and at least one could be judged."""
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
    """Another model than the champion, and non-inferior and superior by the lower bound of the paired gain."""
    champion, gain = evidence.champion, evidence.gain
    if champion is None:
        yield _check("ratchet:no-champion", 0, "<=", 0, "nothing serves")
        return
    same = champion.digest == evidence.candidate.digest
    yield _check("ratchet:another-model", int(not same), ">=", 1, "identical to the champion" if same else "")
    bounds = {"ratchet:non-inferior": -policy.non_inferiority_margin, SUPERIOR: policy.min_gain}
    for name, bound in bounds.items():
        yield _check(name, gain.lower if gain else None, ">", bound, "lower bound of the gain")
