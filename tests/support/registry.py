"""Model registries for tests: MLflow on a fresh SQLite file, and versions in it that went through the gate."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ratchet.clock import Clock
from ratchet.model import Model
from ratchet.project import Project
from ratchet.registry import opened
from tests.support.models import noshow_baseline, noshow_candidate, save_noshow
from tests.support.projects import noshow_project
from tests.support.records import noshow_record
from training_pipeline.register import offer


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which MLflow has made its database: that takes seconds, so it is done once and copied."""
    project = noshow_project(tmp_path_factory.mktemp("registry"))
    with opened(project, "promotion") as registry:
        registry.snapshot()
    return project.shared_state


@pytest.fixture
def project(tmp_path: Path, empty_registry: Path) -> Project:
    """The no-show project with an empty registry."""
    return registry_project(tmp_path, empty_registry)


def registry_project(folder: Path, state: Path, clock: Clock | None = None) -> Project:
    """A project that begins with a copy of a state folder; artifacts that its registry has are shared with the original."""
    shutil.copytree(state, folder / "state")
    return noshow_project(folder, clock)


@cache
def baseline() -> Model:
    return noshow_baseline()


@cache
def candidate(trees: int = 3) -> Model:
    """A model that differs from those with another number of `trees`."""
    return noshow_candidate(rows=600, trees=trees)


def offer_model(project: Project, model: Model, champion: str | None, **evidence: Any) -> int:
    """The version of a model with a record that is superior to `champion` (a digest), but for changes to its evidence."""
    directory = save_noshow(model, project.models / model.digest[:12])
    return offer(project, directory, noshow_record(project, model, champion, **evidence))


def offer_baseline_and_candidate(project: Project) -> tuple[Model, Model]:
    """Versions 1 and 2, each of which serves in its turn."""
    offer_model(project, baseline(), None)
    offer_model(project, candidate(), baseline().digest)
    return baseline(), candidate()


def client(project: Project) -> MlflowClient:
    """MLflow itself, to look at the registry, or to change it behind our back."""
    uri = f"sqlite:///{project.shared_state / 'mlflow.db'}"
    return MlflowClient(uri, registry_uri=uri)
