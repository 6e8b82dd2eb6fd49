"""The record of a refit: a superior model's recipe, fitted again on all mature rows, and whether it still behaves alike.

A refit saw the rows on which its recipe was judged, so no quality can be measured on them. It is admitted on two signed
documents: the gate record of the judged model, and this one, which says that the refit is the same recipe and behaves like it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeInt

from ratchet.code.git import CodeVersion
from ratchet.core.errors import GateError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import GateSettings
from ratchet.gate import record as gate_record
from ratchet.gate.checks import Check, bounded, same_checks
from ratchet.gate.evidence import Score
from ratchet.gate.gate import Gate
from ratchet.gate.record import GateRecord, StoredRecord
from ratchet.models.metrics import METRICS, finite
from ratchet.storage.digests import digest
from ratchet.use_case.contract import Task

if TYPE_CHECKING:
    from ratchet.models.contract import Contract

RefitVerdict = Literal["passed", "failed"]
LOSS = {"regression": "rmse", "binary": "log_loss"}
"""The metric that is the gate's error: a refit must not be worse by it on rows that it was fitted on."""
CALIBRATION = "calibration_error"
_SAME = ("model_name", "use_case", "source", "task", "kind", "feature_service", "fingerprint", "inputs", "params")
"""What a refit has in common with its judged model."""


class RefitEvidence(Frozen):
    """How a refit compares with its judged model.

    It was fitted on `rows`; the judged model had seen none of `added` of them, and both are scored on these. `change` is the
    root mean square difference of their predictions for `golden` rows that both were fitted on, as a share of the judged
    model's root mean square error on the added rows; `invalid` counts golden predictions of the refit that are none.
    `recipe` and `judged_recipe` are digests of all that decides a fit but the rows. `different` names what their contracts do
    not have in common.
    """

    task: Task
    rows: NonNegativeInt
    added: NonNegativeInt
    refit: Score
    judged: Score
    golden: NonNegativeInt
    invalid: NonNegativeInt
    change: float | None
    recipe: str
    judged_recipe: str
    different: tuple[str, ...]


class RefitRecord(StoredRecord):
    """The decision about one refit, with the signed record of the model that was judged.

    `files` are the refit's files, name → SHA-256. `dirty` and `experiment` are also those of the judged model.
    """

    stage: ClassVar[str] = "refit"

    model_name: str
    kind: str
    data_version: str
    feature_service: str
    fingerprint: str
    commit: str | None
    dirty: bool
    experiment: str | None
    files: dict[str, str]
    judged: GateRecord
    evidence: RefitEvidence
    policy: GateSettings
    checks: tuple[Check, ...]
    verdict: RefitVerdict

    @property
    def candidate(self) -> str:
        """Digest of the refit."""
        return self.evidence.refit.digest

    @property
    def champion(self) -> str:
        """Digest of the model that it may replace: its judged model."""
        return self.judged.candidate


Record = GateRecord | RefitRecord
"""On what a version is admitted."""


def recipe_of(contract: Contract, code: str) -> str:
    """A digest of everything but the rows that decides a fit: settings, inputs, features, and the code that fits."""
    return digest(
        contract.kind, contract.task, contract.params, list(contract.inputs.items()), contract.fingerprint, code
    )


def differences(refit: Contract, judged: Contract) -> tuple[str, ...]:
    """What the contracts should have in common and have not."""
    return tuple(name for name in (*_SAME, "trained_from") if getattr(refit, name) != getattr(judged, name))


def run_refit_checks(evidence: RefitEvidence, policy: GateSettings) -> tuple[Check, ...]:
    """Every check of a refit, in a fixed order. The result depends on the arguments only."""
    refit, judged = evidence.refit, evidence.judged
    later = (refit.trained_until - judged.trained_until).total_seconds() / 86_400
    same_recipe = evidence.recipe == evidence.judged_recipe
    differ = ", ".join(evidence.different) or "nothing"
    return (
        bounded("added", evidence.added, ">=", 1, "rows that the judged model was not fitted on"),
        bounded("later", later, ">", 0, "days more than the judged model"),
        bounded("another-model", int(refit.digest != judged.digest), ">=", 1, "than the judged one"),
        bounded("recipe", int(same_recipe), ">=", 1, "the judged model's settings, inputs, features and code"),
        bounded("contract", len(evidence.different), "<=", 0, f"{differ} differs from the judged model's"),
        bounded("golden:invalid", evidence.invalid, "<=", 0, f"of {evidence.golden} predictions"),
        bounded("golden:change", evidence.change, "<=", policy.max_refit_change, "of the judged model's error"),
        *_metrics(evidence, policy),
    )


def _metrics(evidence: RefitEvidence, policy: GateSettings) -> Iterator[Check]:
    """Check that the refit has every metric on the added rows, and is not worse there: it was fitted on them."""
    for name, metric in METRICS[evidence.task].items():
        value, judged = (_metric(score, name) for score in (evidence.refit, evidence.judged))
        if name == CALIBRATION:  # a model that was fitted on these rows is too cautious about them
            bound = max(policy.max_calibration_error, judged or 0.0)
            yield bounded(f"metric:{name}", value, "<=", bound, "mean distance from the observed rates")
            continue
        worse = None if value is None or judged is None else _worse(value, judged, metric.better == "higher")
        bound = 0.0 if name == LOSS[evidence.task] else policy.non_inferiority_margin
        yield bounded(f"metric:{name}", worse, "<=", bound, "worse than the judged model, as a share of its value")


def _metric(score: Score, name: str) -> float | None:
    value = score.metrics.get(name)
    return None if value is None or score.invalid else finite(value)


def _worse(value: float, judged: float, higher_is_better: bool) -> float | None:
    difference = judged - value if higher_is_better else value - judged
    return 0.0 if difference == 0 else finite(difference / abs(judged)) if judged else None


def refit_verdict(checks: tuple[Check, ...]) -> RefitVerdict:
    return "passed" if checks and all(check.passed for check in checks) else "failed"


def build_refit_record(
    contract: Contract, judged: GateRecord, evidence: RefitEvidence, *, files: dict[str, str], code: CodeVersion
) -> RefitRecord:
    """The unsigned record of a refit with this contract, by the policy that its judged model was judged by."""
    checks = run_refit_checks(evidence, judged.policy)
    return RefitRecord(
        model_name=contract.model_name,
        kind=contract.kind,
        data_version=contract.data_version,
        feature_service=contract.feature_service,
        fingerprint=contract.fingerprint,
        commit=code.commit,
        dirty=code.dirty or contract.dirty or judged.dirty,
        experiment=code.experiment or contract.experiment or judged.experiment,
        files=files,
        judged=judged,
        evidence=evidence,
        policy=judged.policy,
        checks=checks,
        verdict=refit_verdict(checks),
    )


def verify(record: Record, model: str, gate: Gate) -> None:
    """Raises GateError unless the record is signed, is about exactly this model (a digest), and its verdict follows from its
    evidence. The judged model's record, which is part of a refit's, must be valid, too."""
    if isinstance(record, GateRecord):
        return gate_record.verify(record, model, gate)
    gate.key.verify(record, _how_to_refit_again(gate))
    if record.candidate != model:
        raise _refusal(f"it is about model {record.candidate[:12]}, not {model[:12]}", gate)
    if record.model_name != gate.scope.namespace:
        raise _refusal(f"it is about {record.model_name}", gate)
    _verify_judged(record, gate)
    checks = run_refit_checks(record.evidence, record.policy)
    if not same_checks(checks, record.checks) or refit_verdict(checks) != record.verdict:
        raise _refusal("its verdict does not follow from its evidence", gate)
    return None


def _verify_judged(record: RefitRecord, gate: Gate) -> None:
    """Raises GateError unless the judged model's record is valid, and about the same model, data and features."""
    judged = record.judged
    gate_record.verify(judged, record.evidence.judged.digest, gate)
    shared = ("data_version", "fingerprint", "policy")
    if any(getattr(record, name) != getattr(judged, name) for name in shared):
        raise _refusal("its judged model was judged on other data or features, or by other bounds", gate)


def admit_refit(record: RefitRecord, model: str, serving: str | None, gate: Gate) -> None:
    """Raises GateError unless the refit may replace the model with the digest `serving` (None if nothing serves).

    That is its judged model, or a model that the judged model may replace because it was found superior to it.
    """
    verify(record, model, gate)
    if record.policy != gate.policy:
        raise _refusal("its judged model was judged by other bounds than params.yaml has now", gate)
    if record.judged.verdict != "superior":
        raise _refusal(f"its judged model is {record.judged.verdict}, not superior", gate)
    if record.verdict != "passed":
        failed = ", ".join(check.name for check in record.checks if not check.passed)
        raise _refusal(
            f"it failed {failed}", gate, "Ask for its judged model; `ratchet status` says which version that is"
        )
    if serving != record.judged.candidate:
        gate_record.admit(record.judged, record.judged.candidate, serving, None, gate)


def _how_to_refit_again(gate: Gate) -> str:
    stage = f"ratchet --use-case {gate.scope.use_case} stage"
    return f"Run `{stage} evaluate`, `{stage} refit` and `{stage} register`: they judge and refit the model trained last again"


def _refusal(problem: str, gate: Gate, remedy: str = "") -> GateError:
    subject = f"refit record of {gate.scope.namespace}"
    return GateError(problem, subject=subject, remedy=remedy or _how_to_refit_again(gate))
