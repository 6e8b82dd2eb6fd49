"""Model registries for tests: MLflow on SQLite, and models that went through the gate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from ratchet import gate_record
from ratchet.model import Model
from ratchet.project import Project
from tests.support.models import noshow_baseline, noshow_candidate, save_noshow
from tests.support.records import noshow_record
from training_pipeline.register import offer


def copied(project: Project, folder: Path) -> Project:
    """The project with all its files in another folder; artifacts logged before stay where MLflow knows them to be."""
    shutil.copytree(project.root, folder)
    return replace(project, root=folder)


@cache
def baseline() -> Model:
    return noshow_baseline()


@cache
def candidate(trees: int = 3) -> Model:
    """A model that differs from those with another number of `trees`."""
    return noshow_candidate(rows=600, trees=trees)


def trained(project: Project) -> Project:
    """The project, in which a baseline and a superior candidate have been trained and judged, but not registered."""
    models = {"baseline": (baseline(), None), "candidate": (candidate(), baseline().digest)}
    for name, (model, champion) in models.items():
        directory = save_noshow(model, project.models / name)
        gate_record.write(noshow_record(project, model, champion, directory), project.gate / f"{name}.json")
    return project


def offer_model(project: Project, model: Model, champion: str | None, **evidence: Any) -> int:
    """The version of a model with a record that is superior to `champion` (a digest), but for changes to its evidence."""
    directory = save_noshow(model, project.models / model.digest[:12])
    return offer(project, directory, noshow_record(project, model, champion, directory, **evidence))


def client(project: Project) -> MlflowClient:
    """MLflow itself, to look at the registry, or to change it behind our back."""
    uri = project.stores.tracking_uri or f"sqlite:///{project.shared_state / 'mlflow.db'}"
    return MlflowClient(uri, registry_uri=uri)
