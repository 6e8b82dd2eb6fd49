"""Register the models that were trained and evaluated, and let the gate decide which model serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ratchet.core.errors import GateError
from ratchet.gate import refit as refit_record
from ratchet.gate.confirmation import Confirmation
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import Record, RefitRecord
from ratchet.model_registry import promotion, refits, rollout
from ratchet.model_registry.changes import write_missing
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.tags import STATUS
from ratchet.models.model import Model, load
from ratchet.models.model_files import checksums
from ratchet.project.run import Run
from ratchet.project.step_reports import Report


def register(run: Run) -> Report:
    """Register the baseline if no model serves yet or if it is registered already, then the candidate and its refit.

    If the refit passed its checks, the policy promotes the refit, otherwise the candidate. Before, a refit that later rows
    showed to be worse is withdrawn. Running this again changes nothing.
    """
    store = ModelRegistry.open(run)
    serves = promotion.reconcile(store)["champion"]
    _settle(run, store)
    models = {name: load(run.paths.models / name, run.use_case) for name in ("baseline", "candidate")}
    if not serves or _is_registered(store, models["baseline"]):
        _offer(store, models["baseline"], run.paths.models / "baseline", _record(run, "baseline"))
    models |= _offer_candidate(run, store, models["candidate"])
    report = _report(store, models)
    with open_registry(store, "registration") as registry:
        write_missing(registry)
    return report


def _settle(run: Run, store: ModelRegistry) -> None:
    """Let the answer about the refit that serves take effect, if `evaluate` found one."""
    if run.paths.confirmation.exists():
        refits.settle(store, Confirmation.model_validate_json(run.paths.confirmation.read_bytes()))


def _record(run: Run, name: str) -> GateRecord:
    return GateRecord.read(run.paths.gate / f"{name}.json")


def _offer_candidate(run: Run, store: ModelRegistry, candidate: Model) -> dict[str, Model]:
    """Register the candidate and its refit, and let the policy promote one of them. Returns the refit, if there is one.

    A refit that was made from another evaluation is not offered; but what the registry lost of it is put back.
    """
    directory, record = run.paths.models / "candidate", _record(run, "candidate")
    if not run.paths.refit_record.exists():
        _offer(store, candidate, directory, record)
        return {}
    refit, refitted = load(run.paths.refit_model, run.use_case), RefitRecord.read(run.paths.refit_record)
    is_current = refitted.judged == record
    if not is_current or refitted.verdict == "failed":
        _offer(store, candidate, directory, record)
    else:
        _log(store, candidate, directory, record)
    if is_current or _is_registered(store, refit):
        _offer(store, refit, run.paths.refit_model, refitted, promote=is_current)
    return {"refit": refit}


def _is_registered(store: ModelRegistry, model: Model) -> bool:
    with open_registry(store, "registration") as registry:
        return registry.find(model.digest) is not None


def offer(store: ModelRegistry, directory: Path, record: Record) -> int:
    """Register the model in `directory` and return its version. The policy promotes it, or begins to roll it out, if its
    record says `superior`, or if it is a refit whose record says `passed`.

    Raises GateError if the record belongs to another model, or if a file differs by a single byte.
    """
    return _offer(store, load(directory, store.use_case), directory, record)


def _offer(store: ModelRegistry, model: Model, directory: Path, record: Record, promote: bool = True) -> int:
    version, has_served = _log(store, model, directory, record)
    if promote and record.verdict in ("superior", "passed") and not has_served:
        ask = rollout.start_by_policy if store.rolls_out else promotion.promote_by_policy
        ask(store, version, model.contract, record)
    return version


def _log(store: ModelRegistry, model: Model, directory: Path, record: Record) -> tuple[int, bool]:
    """The version of the model, and whether it has served."""
    refit_record.verify(record, model.digest, store.gate)
    if checksums(directory) != record.files:
        raise GateError("its files are not those that were judged", subject=str(directory), remedy="Evaluate it again")
    with open_registry(store, "registration") as registry:
        version = registry.log(model, directory, record).number
        return version, version in registry.snapshot().served


def _report(store: ModelRegistry, models: Mapping[str, Model]) -> Report:
    with open_registry(store, "registration") as registry:
        found = {name: registry.find(model.digest) for name, model in models.items()}
    return {
        name: {
            "version": version.number if version else None,
            "digest": models[name].digest,
            "status": version.tags.get(STATUS) if version else "not registered",
        }
        for name, version in found.items()
    }
