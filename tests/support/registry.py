"""Model registries for tests: MLflow on SQLite, and models that went through the gate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ratchet import gate_record
from ratchet.model import Model
from ratchet.project import Project
from ratchet.promotion import status
from tests.support.models import noshow_baseline, noshow_candidate, save_noshow
from tests.support.projects import noshow_project
from tests.support.records import noshow_record
from training_pipeline.register import offer, register


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which MLflow has made its database: that takes seconds, so it is done once and copied."""
    project = noshow_project(tmp_path_factory.mktemp("empty"))
    status(project)
    return project


@pytest.fixture(scope="session")
def served_registry(tmp_path_factory: pytest.TempPathFactory, empty_registry: Project) -> Project:
    """A project in whose registry a baseline served (version 1), and a candidate does (version 2)."""
    project = trained(copied(empty_registry, tmp_path_factory.mktemp("served") / "project"))
    register(project)
    return project


@pytest.fixture
def project(tmp_path: Path, empty_registry: Project) -> Project:
    """A project of the test's own with an empty registry."""
    return copied(empty_registry, tmp_path / "project")


@pytest.fixture
def served(tmp_path: Path, served_registry: Project) -> Project:
    """A project of the test's own with versions 1 and 2, of which the second serves; leave their artifacts as they are."""
    return copied(served_registry, tmp_path / "served")


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
        save_noshow(model, project.models / name)
        gate_record.write(noshow_record(project, model, champion), project.gate / f"{name}.json")
    return project


def offer_model(project: Project, model: Model, champion: str | None, **evidence: Any) -> int:
    """The version of a model with a record that is superior to `champion` (a digest), but for changes to its evidence."""
    directory = save_noshow(model, project.models / model.digest[:12])
    return offer(project, directory, noshow_record(project, model, champion, **evidence))


def client(project: Project) -> MlflowClient:
    """MLflow itself, to look at the registry, or to change it behind our back."""
    uri = project.stores.tracking_uri or f"sqlite:///{project.shared_state / 'mlflow.db'}"
    return MlflowClient(uri, registry_uri=uri)
