"""The model that answers changes when reconcile says so, and never for the worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.serving import Serving
from ratchet.errors import GateError, RegistryError
from ratchet.project import Project
from ratchet.tables import write_json
from tests.support.champions import fixed_predictor
from tests.support.projects import noshow_project

UNSIGNED = GateError("the signature does not fit", subject="gate record", remedy="Evaluate the model again")


class Registry:
    """Loads versions in turn, and fails when it is told to."""

    def __init__(self) -> None:
        self.loads = 0
        self.broken: Exception | None = None

    def load(self, project: Project) -> Predictor:
        if self.broken:
            raise self.broken
        self.loads += 1
        predictor = fixed_predictor(project)
        return replace(predictor, champion=replace(predictor.champion, version=self.loads))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = noshow_project(tmp_path)
    write_json(project.serving_file, {"version": 1})
    return project


def test_a_model_is_loaded_once_per_promotion(project: Project) -> None:
    """What serves is loaded again when reconcile wrote something else, and only then."""
    registry = Registry()
    serving = Serving(project, registry.load)
    serving.refresh()
    serving.refresh()
    assert 1 == serving.predictor.champion.version
    write_json(project.serving_file, {"version": 2})
    serving.refresh()
    assert 2 == serving.predictor.champion.version


@pytest.mark.parametrize("problem", [UNSIGNED, OSError("the disk is gone")])
def test_what_is_loaded_stays_when_another_cannot_be(project: Project, problem: Exception) -> None:
    """A promoted model that cannot be loaded does not take down the one that answers; it is tried again."""
    registry = Registry()
    serving = Serving(project, registry.load)
    serving.refresh()
    registry.broken = problem
    write_json(project.serving_file, {"version": 2})
    serving.refresh()
    assert 1 == serving.predictor.champion.version
    registry.broken = None
    serving.refresh()
    assert 2 == serving.predictor.champion.version


def test_without_a_model_there_is_a_reason(project: Project) -> None:
    """Until something could be loaded the service is not ready and says why."""
    registry = Registry()
    registry.broken = UNSIGNED
    serving = Serving(project, registry.load)
    serving.refresh()
    assert not serving.ready
    with pytest.raises(RegistryError, match="the signature does not fit"):
        _ = serving.predictor
    registry.broken = None
    serving.refresh()
    assert serving.ready
