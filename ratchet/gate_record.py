"""The gate record: evidence, checks and a verdict about one model, under a signature.

The verdict follows from the checks and the checks from the evidence; whoever uses a record derives both again instead of
believing them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field, ValidationError

from ratchet.errors import GateError
from ratchet.gate_checks import Check, Verdict, decide, judge
from ratchet.gate_evidence import Evidence
from ratchet.project import Project
from ratchet.settings import GateSettings
from ratchet.signing import Signed, check_signature
from ratchet.tables import write_text
from ratchet.versions import CodeVersion

if TYPE_CHECKING:
    from ratchet.model import Contract

JUDGE_AGAIN = "Run `ratchet stage evaluate`, then `ratchet stage register`: they judge the model again"


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
        """Digest of the model that skill is measured over."""
        return self.evidence.reference.digest

    @property
    def champion(self) -> str | None:
        """Digest of the model that it was compared with; None where nothing served."""
        return self.evidence.champion.digest if self.evidence.champion else None


class Waiver(Signed):
    """A person's signed word that a non-inferior model may be promoted, until it expires."""

    model_name: str
    candidate: str
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: AwareDatetime


def conclude(
    contract: Contract,
    evidence: Evidence,
    policy: GateSettings,
    *,
    files: dict[str, str],
    data_version: str,
    code: CodeVersion,
) -> GateRecord:
    """The record, still unsigned, of a model judged on this data by this code."""
    checks = judge(evidence, policy)
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


def admit(
    record: GateRecord, digest: str, serving: str | None, waiver: Waiver | None, project: Project
) -> Waiver | None:
    """The waiver that it took for the model to take the place of the one that serves (a digest, or None), if it took one.

    Raises GateError where the model may not.
    """
    verify(record, digest, project)
    if record.policy != project.settings.gate:
        raise _refusal("it was judged by other bounds than params.yaml has now", project)
    if record.champion != serving:
        compared, serves = (name[:12] if name else "nothing" for name in (record.champion, serving))
        raise _refusal(f"it compares with {compared}, but {serves} serves", project)
    if record.verdict == "refused":
        failed = [check.name for check in record.checks if check.status == "failed"]
        raise _refusal(f"it failed {', '.join(failed)}", project, "Offer a better model")
    return _checked(waiver, digest, project) if record.verdict == "non-inferior" else None


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


def _refusal(problem: str, project: Project, remedy: str = JUDGE_AGAIN) -> GateError:
    return GateError(problem, subject=f"gate record of {project.namespace}", remedy=remedy)


def _checked(waiver: Waiver | None, digest: str, project: Project) -> Waiver:
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
    return waiver
