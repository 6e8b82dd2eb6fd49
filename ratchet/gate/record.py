"""The gate record: evidence, checks and a verdict about one model, with a signature.

The verdict follows from the checks, and the checks follow from the evidence. Code that uses a record computes both again and
does not trust the stored ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import AwareDatetime, Field, ValidationError

from ratchet.code.git import CodeVersion
from ratchet.core.errors import GateError
from ratchet.core.scope import Scope
from ratchet.core.settings import BLOCKS, GateSettings
from ratchet.core.text import one_line
from ratchet.gate.checks import PLAUSIBLE, Check, Verdict, run_checks, same_checks, verdict_of
from ratchet.gate.evidence import Evidence
from ratchet.gate.gate import Gate
from ratchet.gate.reasons import check_reason, how_to_accept
from ratchet.gate.signing import Signed
from ratchet.storage.files import write_text

if TYPE_CHECKING:
    from ratchet.models.contract import Contract


HOW_TO_WAIVE = "Ask for it by `ratchet promote VERSION --reason … --until YYYY-MM-DD`"


class StoredRecord(Signed):
    """A record in a file. `stage` is the step that makes it."""

    stage: ClassVar[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file, unverified. Raises GateError if there is none."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise GateError(
                f"is no record of `{cls.stage}` ({one_line(str(error))})",
                subject=str(path),
                remedy=f"Run `ratchet stage {cls.stage}`; a model without a record does not serve",
            ) from error

    def write(self, path: Path) -> None:
        write_text(path, self.model_dump_json(indent=2) + "\n")


class GateRecord(StoredRecord):
    """The decision about one model, with its evidence, policy, data and code.

    `files` are the model's files that were judged, name → SHA-256. Files with other content are not even parsed.
    """

    stage: ClassVar[str] = "evaluate"

    model_name: str
    kind: str
    data_version: str
    feature_service: str
    fingerprint: str
    commit: str | None
    dirty: bool
    experiment: str | None
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
        """Digest of the model over which skill is measured."""
        return self.evidence.reference.digest

    @property
    def champion(self) -> str | None:
        """Digest of the champion that it was compared with; None if nothing served."""
        return self.evidence.champion.digest if self.evidence.champion else None


class Waiver(Signed):
    """A person's signed permission to promote a non-inferior model, until it expires."""

    model_name: str
    candidate: str
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: AwareDatetime


def build_record(
    contract: Contract,
    evidence: Evidence,
    policy: GateSettings,
    *,
    files: dict[str, str],
    data_version: str,
    code: CodeVersion,
) -> GateRecord:
    """The unsigned record of a model that was judged on this data by this code."""
    checks = run_checks(evidence, policy)
    return GateRecord(
        model_name=contract.model_name,
        kind=contract.kind,
        data_version=data_version,
        feature_service=contract.feature_service,
        fingerprint=contract.fingerprint,
        commit=code.commit,
        dirty=code.dirty,
        experiment=code.experiment,
        files=files,
        evidence=evidence,
        policy=policy,
        checks=checks,
        verdict=verdict_of(checks),
    )


def verify(record: GateRecord, digest: str, gate: Gate) -> None:
    """Raises GateError unless the record is signed, is about exactly this model, and its verdict follows from its evidence.

    A person's reason in the record must be signed, too, and be about this model and its features.
    """
    gate.key.verify(record, how_to_judge_again(gate.scope))
    if record.candidate != digest:
        raise _refusal(f"it is about model {record.candidate[:12]}, not {digest[:12]}", gate)
    if record.model_name != gate.scope.namespace:
        raise _refusal(f"it is about {record.model_name}", gate)
    if record.evidence.reason:
        check_reason(record.evidence.reason, record.fingerprint, gate)
    checks = run_checks(record.evidence, record.policy)
    if not same_checks(checks, record.checks) or verdict_of(checks) != record.verdict:
        raise _refusal("its verdict does not follow from its evidence", gate)


def admit(record: GateRecord, digest: str, serving: str | None, waiver: Waiver | None, gate: Gate) -> Waiver | None:
    """Raises GateError unless the model may replace the one with the digest `serving` (None if nothing serves).

    Returns the waiver, if the model needed one.
    """
    verify(record, digest, gate)
    if record.policy != gate.policy:
        raise _refusal("it was judged by other bounds than params.yaml has now", gate)
    if record.verdict == "refused":
        raise _refused(record, gate)
    if record.champion != serving:
        raise _compares_with_another(record, serving, gate)
    if record.verdict == "undecided":
        raise _refusal(
            f"it is {undecided(record)}", gate, "Train and judge a later one: `ratchet advance`, then " + _repro(gate)
        )
    return _checked(waiver, digest, gate) if record.verdict == "non-inferior" else None


def undecided(record: GateRecord) -> str:
    """How much of what the gate needs is there, for a model that it could not judge yet."""
    evidence, policy = record.evidence, record.policy
    return (
        f"not judged yet: {evidence.blocks} of {policy.min_blocks} {counted(policy.block)} and {evidence.n:,} of "
        f"{policy.min_rows:,} rows since {evidence.start:%Y-%m-%dT%H:%MZ}, where the champion's training rows end"
    )


def counted(block: str) -> str:
    """The plural of a block of the bootstrap."""
    return f"{block}s" if block in BLOCKS else f"values of {block}"


def how_to_judge_again(scope: Scope) -> str:
    """How to get a new record: by two commands for the models trained last; any other version must be trained again."""
    stage = f"ratchet --use-case {scope.use_case} stage"
    return (
        f"Run `{stage} evaluate`, then `{stage} register`: they judge the models that were trained last again. An older "
        "version has to be trained again from its commit first, and one that has served keeps its record; `ratchet status` "
        "lists the other versions"
    )


def _refusal(problem: str, gate: Gate, remedy: str = "") -> GateError:
    remedy = remedy or how_to_judge_again(gate.scope)
    return GateError(problem, subject=f"gate record of {gate.scope.namespace}", remedy=remedy)


def _compares_with_another(record: GateRecord, serving: str | None, gate: Gate) -> GateError:
    compared, serves = (name[:12] if name else "nothing" for name in (record.champion, serving))
    first = (
        f"Promote the version with digest {compared} first (`ratchet status` lists it by number). Where that one is refused: "
        if serving is None
        else ""
    )
    return _refusal(
        f"it compares with {compared}, but {serves} serves", gate, f"{first}{how_to_judge_again(gate.scope)}"
    )


def _refused(record: GateRecord, gate: Gate) -> GateError:
    failed = [check.name for check in record.checks if check.status == "failed"]
    remedy = f"`ratchet summary` shows each check of the last one. Train a better model: {_repro(gate)}"
    if all(name.startswith(PLAUSIBLE) for name in failed):
        columns = ", ".join(record.evidence.linear_fit.columns) or "what is known only after the outcome"
        remedy = (
            f"It is too good to be true. Take {columns} out of `inputs`, or sign why a caller knows it in time: "
            f"{how_to_accept(gate.scope)}; then {_repro(gate)}"
        )
    return _refusal(f"it failed {', '.join(failed)}", gate, remedy)


def _repro(gate: Gate) -> str:
    return f"`dvc repro monitor@{gate.scope.use_case}`"


def _checked(waiver: Waiver | None, digest: str, gate: Gate) -> Waiver:
    if waiver is None:
        raise GateError(
            "not shown to be better, only not to be worse",
            subject=f"gate record of {gate.scope.namespace}",
            remedy=f"{HOW_TO_WAIVE}, or train a better one",
        )
    gate.key.verify(waiver, HOW_TO_WAIVE)
    about = (waiver.model_name, waiver.candidate)
    if about != (gate.scope.namespace, digest) or waiver.expires <= gate.clock.now():
        raise GateError(
            f"it is for {waiver.model_name} {waiver.candidate[:12]} until {waiver.expires.isoformat()}",
            subject=f"waiver by {waiver.by}",
            remedy=HOW_TO_WAIVE,
        )
    return waiver
