"""The origin of a prediction: features, model, gate record, run, feature service, data version, commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ratchet.core.errors import GateError, RegistryError
from ratchet.gate.gate import Gate
from ratchet.gate.refit import Record, RefitRecord, verify
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.version import Version
from ratchet.models.contract import read_contract
from ratchet.prediction_log.log import PredictionLog

_PREDICTION = ("prediction_id", "time", "prediction", "arm", "request_id", "undelivered")


def trace(log: PredictionLog, store: ModelRegistry, prediction_id: str) -> dict[str, Any]:
    """The request, the features and the prediction, with the model's evidence, data and code, as values for JSON.

    Raises StoreError for an id that is not in the prediction log, RegistryError or GateError if the model is gone.
    """
    row = log.find(prediction_id)
    with open_registry(store, "promotion") as registry:
        version = _version(registry, row)
        record = registry.record(version)
        contract = read_contract(registry.files(version, record))
    return {
        "prediction": {name: row[name] for name in _PREDICTION},
        "request": {**row.get("keys", {}), **row["request"]},
        "features": [*_features(row)],
        "vector": json.loads(row["vector"]) if row.get("vector") else None,
        "absences": {name: reason for name, reason in row.get("absences", {}).items() if reason},
        "model": {
            "name": row["model_name"],
            "version": version.number,
            "digest": version.digest,
            "kind": contract.kind,
            "trained_from": contract.trained_from.isoformat(),
            "trained_until": contract.trained_until.isoformat(),
        },
        "gate_record": _gate_record(store.gate, record, row["model_digest"]),
        "run": version.run_id,
        "feature_service": {"name": contract.feature_service, "fingerprint": contract.fingerprint},
        "data_version": contract.data_version,
        "features_version": contract.features_version,
        "code": {"commit": contract.commit, "dirty": contract.dirty},
    }


def _version(registry: RegistrySession, row: dict[str, Any]) -> Version:
    """The version of the model that answered, found by its digest: numbers differ in a registry that was created again."""
    version = registry.find(row["model_digest"])
    if version is None:
        raise RegistryError(
            f"holds no model {row['model_digest'][:12]}",
            subject=f"model registry of {row['model_name']}",
            remedy="Set RATCHET_TRACKING_URI to the registry that held it then",
        )
    return version


def _features(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every feature value with the instant since which it holds. A feature's name begins with the name of its lookup."""
    for name, value in row.get("features", {}).items():
        lookup = max((known for known in row["feature_timestamps"] if name.startswith(f"{known}__")), key=len)
        yield {"name": name, "value": value, "timestamp": row["feature_timestamps"][lookup]}


def _gate_record(gate: Gate, record: Record, digest: str) -> dict[str, Any]:
    """The gate's verdict and checks; for a refit, also those of its judged model. An invalid record is shown, too, with the
    objection to it."""
    try:
        verify(record, digest, gate)
        objection = None
    except GateError as error:
        objection = str(error)
    return {
        "verdict": record.verdict,
        "verified": objection is None,
        "objection": objection,
        "compared_with": record.champion,
        "checks": [check.model_dump(mode="json") for check in record.checks],
        "judged": _gate_record(gate, record.judged, record.judged.candidate)
        if isinstance(record, RefitRecord)
        else None,
    }
