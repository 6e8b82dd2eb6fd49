"""Log a model to MLflow: a run, the model in MLflow's own format, and last the version that refers to them."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.sklearn
import numpy as np
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, LoggedModelOutput, Metric, Param
from mlflow.models import Model as MlflowModel
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from ratchet.core.settings import PARAMS_FILE
from ratchet.gate.evidence import Score
from ratchet.gate.record import GateRecord
from ratchet.gate.refit import Record, RefitRecord
from ratchet.model_registry.embedded_database import artifacts
from ratchet.model_registry.logged_files import logged_tag
from ratchet.model_registry.model_card import model_card, registered_model_card
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.refit_card import refit_card
from ratchet.model_registry.tags import (
    CANDIDATE,
    COMMIT,
    DATA_VERSION,
    DIGEST,
    DIRTY,
    EXPERIMENT,
    FAILED,
    FEATURES_VERSION,
    FINGERPRINT,
    KIND,
    RECORD,
    REFIT_OF,
    STATUS,
    VERDICT,
)
from ratchet.model_registry.version import Version
from ratchet.models.archive import TRUSTED
from ratchet.models.contract import Contract
from ratchet.models.model import Model, frame
from ratchet.models.model_files import FILES, PLOTS, REFERENCE
from ratchet.storage.arrow import to_columns

REQUIREMENTS = ("scikit-learn", "lightgbm", "skops", "numpy", "pandas")


def log(client: MlflowClient, store: ModelRegistry, model: Model, directory: Path, record: Record) -> None:
    """Log everything about the model in `directory`. Others see it only after the last line, which creates the version."""
    tags = _tags(model)
    run_id, experiment = _start_run(client, store, model, directory, record, tags)
    logged = client.create_logged_model(experiment, model.contract.kind, run_id, model_type=model.contract.task)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    tags |= _log_model(client, model, directory, logged)
    client.finalize_logged_model(logged.model_id, "READY")
    _log_files(client, store, directory, run_id)
    tags |= {STATUS: CANDIDATE, **_log_record(client, run_id, record)}
    name = store.scope.namespace
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.create_model_version(name, logged.artifact_location, run_id, tags, model_id=logged.model_id)


def log_again(client: MlflowClient, version: Version, model: Model, directory: Path, record: Record) -> dict[str, str]:
    """Replace the version's files and record by those of an equal model. Returns the tags to set, the record's last."""
    files = log_files(client, version, model, directory)
    return {**_tags(model), **files, **_log_record(client, version.run_id, record)}


def log_files(client: MlflowClient, version: Version, model: Model, directory: Path) -> dict[str, str]:
    """Replace the version's files, in MLflow's format, by those of this model. Returns the tag to set."""
    (output,) = client.get_run(version.run_id).outputs.model_outputs
    return _log_model(client, model, directory, client.get_logged_model(output.model_id))


def describe(client: MlflowClient, store: ModelRegistry, version: Version, record: Record, contract: Contract) -> None:
    """Write the model card on the version's page, and what the model predicts on the registered model's page."""
    name, number = store.scope.namespace, str(version.number)
    about = registered_model_card(store.use_case, store.scope.source)
    if client.get_registered_model(name).description != about:
        client.update_registered_model(name, about)
    if isinstance(record, RefitRecord):
        card = refit_card(record, contract, version.number, _numbers(client, name, record.judged.candidate))
    else:
        card = model_card(record, contract, version.number)
    if client.get_model_version(name, number).description != card:
        client.update_model_version(name, number, card)


def _numbers(client: MlflowClient, name: str, digest: str) -> list[int]:
    """The versions of a model: one, or none."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{DIGEST}` = '{digest}'")
    return [int(version.version) for version in found]


def record_name(record: Record) -> str:
    """The name under which a record is stored: the digest of its text."""
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()


def _log_record(client: MlflowClient, run_id: str, record: Record) -> dict[str, str]:
    """Store the record with its run, under its own name beside earlier records. Returns the tags that select it."""
    name = record_name(record)
    client.log_text(run_id, record.model_dump_json(indent=2) + "\n", f"gate/{name}.json")
    failed = ", ".join(check.name for check in record.checks if check.status == "failed")
    judged = {REFIT_OF: record.judged.candidate} if isinstance(record, RefitRecord) else {}
    return {VERDICT: record.verdict, **judged, RECORD: name, FAILED: failed}


def _tags(model: Model) -> dict[str, str]:
    contract = model.contract
    return {
        DIGEST: model.digest,
        KIND: contract.kind,
        COMMIT: str(contract.commit),
        DIRTY: str(contract.dirty).lower(),
        EXPERIMENT: contract.experiment or "",
        DATA_VERSION: contract.data_version,
        FEATURES_VERSION: contract.features_version,
        "ratchet.features.service": contract.feature_service,
        FINGERPRINT: contract.fingerprint,
    }


def _start_run(
    client: MlflowClient, store: ModelRegistry, model: Model, directory: Path, record: Record, tags: dict[str, str]
) -> tuple[str, str]:
    """Start a run with everything that needs no model files. Returns the ids of run and experiment."""
    now = int(store.gate.clock.now().timestamp() * 1000)
    experiment = _experiment(client, store)
    run_id = client.create_run(experiment, now, tags, run_name=model.contract.kind).info.run_id
    client.log_batch(run_id, _metrics(record, now), _params(model.contract))
    client.log_inputs(run_id, [_dataset(store, model, directory)])
    return run_id, experiment


def _experiment(client: MlflowClient, store: ModelRegistry) -> str:
    """The id of the namespace's experiment. A server decides by itself where its artifacts go."""
    found = client.get_experiment_by_name(store.scope.namespace)
    if found is not None:
        return str(found.experiment_id)
    local = "" if store.address.startswith("http") else artifacts(store).as_uri()
    return str(client.create_experiment(store.scope.namespace, store.artifact_location or local or None))


def _metrics(record: Record, now: int) -> list[Metric]:
    """The numbers of the record."""
    found = _refit_metrics(record) if isinstance(record, RefitRecord) else _holdout_metrics(record)
    return [
        Metric(name, value, now, step=0) for name, value in found.items() if value is not None and math.isfinite(value)
    ]


def _holdout_metrics(record: GateRecord) -> dict[str, float | None]:
    """Every model's scores on the same holdout, as `holdout/…`, `reference/…` and `champion/…`."""
    evidence = record.evidence
    scores = {"holdout": evidence.candidate, "reference": evidence.reference, "champion": evidence.champion}
    return {**_by_role(scores), "holdout/skill": evidence.skill, "holdout/n": float(evidence.n)}


def _refit_metrics(record: RefitRecord) -> dict[str, float | None]:
    """Both models' scores on rows that the refit was fitted on: `fitted/…` and `judged/…`. They are no measure of quality."""
    evidence = record.evidence
    scores = _by_role({"fitted": evidence.refit, "judged": evidence.judged})
    return {**scores, "fitted/rows": float(evidence.rows), "fitted/change": evidence.change}


def _by_role(scores: Mapping[str, Score | None]) -> dict[str, float | None]:
    return {f"{role}/{name}": value for role, score in scores.items() if score for name, value in score.metrics.items()}


def _params(contract: Contract) -> list[Param]:
    return [Param(name, str(value)) for name, value in sorted(contract.params.items())]


def _dataset(store: ModelRegistry, model: Model, directory: Path) -> DatasetInput:
    """The training data, under DVC's digest of it."""
    contract = model.contract
    columns = {"mlflow_colspec": _signature(model, directory).inputs.to_dict()}
    period = {"from": contract.trained_from.isoformat(), "until": contract.trained_until.isoformat()}
    data = Dataset(
        name=contract.model_name,
        digest=contract.data_version,
        source_type="local",
        source=json.dumps({"uri": store.paths.dataset.relative_to(store.paths.root).as_posix()}),
        schema=json.dumps(columns),
        profile=json.dumps(period),
    )
    return DatasetInput(data, [InputTag("mlflow.data.context", "training")])


def _signature(model: Model, directory: Path) -> ModelSignature:
    """The model's signature, declared: MLflow silently drops a signature that it cannot infer."""
    rows = frame(model.contract.inputs, to_columns(pq.read_table(directory / REFERENCE)))
    inputs = [
        ColSpec(DataType.string if dtype == np.dtype(object) else DataType.double, name, required=False)
        for name, dtype in rows.dtypes.items()
    ]
    shape = (-1, 2) if model.contract.task == "binary" else (-1,)
    return ModelSignature(Schema(inputs), Schema([TensorSpec(np.dtype(np.float64), shape)]))


def _log_model(client: MlflowClient, model: Model, directory: Path, logged: LoggedModel) -> dict[str, str]:
    """Log a folder that MLflow's tools can load like any sklearn model, and `ratchet.models.model.load` by its own rules.
    Returns the tag with its files."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "model")
        mlflow.sklearn.save_model(
            model.pipeline,
            folder,
            mlflow_model=MlflowModel(run_id=logged.source_run_id, model_uuid=logged.model_id, model_id=logged.model_id),
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED),
            signature=_signature(model, directory),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            pyfunc_predict_fn="predict_proba" if model.contract.task == "binary" else "predict",
        )
        for name in FILES:
            shutil.copyfile(directory / name, folder / name)
        client.log_model_artifacts(logged.model_id, str(folder))
        return logged_tag(folder)


def _log_files(client: MlflowClient, store: ModelRegistry, directory: Path, run_id: str) -> None:
    """Log the plots and, to restore the data, dvc.lock and params.yaml, each if it exists."""
    if (directory / PLOTS).is_dir():
        client.log_artifacts(run_id, str(directory / PLOTS), PLOTS)
    for path in (store.paths.root / "dvc.lock", store.paths.root / PARAMS_FILE):
        if path.exists():
            client.log_artifact(run_id, str(path), "versions")
