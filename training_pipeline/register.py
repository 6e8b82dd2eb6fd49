"""Register the models that were trained and evaluated, and let the gate decide which model serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ratchet.core.errors import GateError
from ratchet.gate import record as gate_record
from ratchet.gate.record import GateRecord
from ratchet.model_registry import promotion
from ratchet.model_registry.changes import write_missing
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.tags import STATUS
from ratchet.models.model import Model, load
from ratchet.models.model_files import checksums
from ratchet.project.run import Run
from ratchet.project.step_reports import Report


def register(run: Run) -> Report:
    """Register the baseline if no model serves yet or if it is registered already, then the candidate.

    Running this again changes nothing.
    """
    store = ModelRegistry.open(run)
    serves = promotion.reconcile(store)["champion"]
    models = {name: load(run.paths.models / name, run.use_case) for name in ("baseline", "candidate")}
    for name, model in models.items():
        if name == "candidate" or not serves or _is_registered(store, model):
            _offer(store, model, run.paths.models / name, gate_record.read(run.paths.gate / f"{name}.json"))
    report = _report(store, models)
    with open_registry(store, "registration") as registry:
        write_missing(registry)
    return report


def _is_registered(store: ModelRegistry, model: Model) -> bool:
    with open_registry(store, "registration") as registry:
        return registry.find(model.digest) is not None


def offer(store: ModelRegistry, directory: Path, record: GateRecord) -> int:
    """Register the model in `directory` and return its version. The policy promotes it if its record says `superior`.

    Raises GateError if the record belongs to another model, or if a file differs by a single byte.
    """
    return _offer(store, load(directory, store.use_case), directory, record)


def _offer(store: ModelRegistry, model: Model, directory: Path, record: GateRecord) -> int:
    gate_record.verify(record, model.digest, store.gate)
    if checksums(directory) != record.files:
        raise GateError("its files are not those that were judged", subject=str(directory), remedy="Evaluate it again")
    with open_registry(store, "registration") as registry:
        version = registry.log(model, directory, record).number
        has_served = version in registry.snapshot().served
    if record.verdict == "superior" and not has_served:
        promotion.promote_by_policy(store, version, model.contract, record)
    return version


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
