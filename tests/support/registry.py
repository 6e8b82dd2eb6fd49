"""Model registries for tests: MLflow on SQLite, and models that went through the gate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from ratchet.core.settings import SourceSettings
from ratchet.gate.evidence import Gain
from ratchet.model_registry import embedded_database
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.status import status
from ratchet.models.model import Model
from ratchet.project.run import Run
from ratchet.storage import sqlite
from tests.support.models import noshow_baseline, noshow_candidate, save_noshow
from tests.support.records import noshow_record
from training_pipeline.register import offer

NO_GAIN = Gain(value=0.0, lower=-0.005, upper=0.005)
WORSE = Gain(value=-0.05, lower=-0.08, upper=-0.02)


def copied(run: Run, folder: Path) -> Run:
    """The project with all its files in another folder: the artifacts of its registry, too."""
    shutil.copytree(run.root, folder)
    copy = replace(run, root=folder)
    if embedded_database.exists(ModelRegistry.open(copy)):
        embedded_database.follow_move(ModelRegistry.open(copy))
        utils._artifact_repos_cache.clear()  # a process remembers by the run's id where it wrote before
    return copy


def create_registry(run: Run) -> None:
    """What the register step begins with."""
    with open_registry(ModelRegistry.open(run), "registration"):
        pass


@cache
def baseline() -> Model:
    return noshow_baseline()


@cache
def candidate(trees: int = 3) -> Model:
    """A model that differs from those with another number of `trees`."""
    return noshow_candidate(rows=600, trees=trees)


def trained(run: Run, **made_by: Any) -> Run:
    """The project, in which a baseline and a superior candidate have been trained and judged, but not registered.

    `made_by` says what is different about their code, such as `dirty=True`.
    """
    models = {"baseline": (baseline(), None), "candidate": (candidate(), baseline().digest)}
    for name, (clean, champion) in models.items():
        model = replace(clean, contract=clean.contract.model_copy(update=made_by))
        directory = save_noshow(model, run.paths.models / name)
        noshow_record(run, model, champion, directory).write(run.paths.gate / f"{name}.json")
    return run


def offer_model(run: Run, model: Model, champion: str | None, **evidence: Any) -> int:
    """The version of a model with a record that is superior to `champion` (a digest), but for changes to its evidence."""
    directory = save_noshow(model, run.paths.models / model.digest[:12])
    return offer(ModelRegistry.open(run), directory, noshow_record(run, model, champion, directory, **evidence))


def client(run: Run) -> MlflowClient:
    """MLflow itself, to look at the registry, or to change it behind our back."""
    uri = run.environment.tracking_uri or sqlite.url(embedded_database.file(ModelRegistry.open(run)))
    return MlflowClient(uri, registry_uri=uri)


def statuses(run: Run) -> list[str]:
    return [version["status"] for version in status(ModelRegistry.open(run))["versions"]]


def move(run: Run, alias: str, version: int) -> None:
    """What a click in MLflow's UI does."""
    client(run).set_registered_model_alias(run.scope.namespace, alias, str(version))


def stored_record(run: Run, version: int) -> Path:
    """The stored record of a version, where MLflow keeps it."""
    run_id = client(run).get_model_version(run.scope.namespace, str(version)).run_id
    folder = client(run).get_run(run_id).info.artifact_uri.removeprefix("file://")
    return next(Path(folder, "gate").iterdir())


def artifacts(run: Run, version: int) -> Path:
    """The stored model of a version, where MLflow keeps it."""
    return Path(client(run).get_model_version(run.scope.namespace, str(version)).source.removeprefix("file://"))


def with_namespace(run: Run) -> Run:
    """The project, under the name of another source."""
    return run.with_settings(source=SourceSettings(name="hospital", path="x"))
