"""The model that answers changes when reconcile says so, and never for the worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from ratchet.core.errors import GateError, RegistryError, RegistryUnavailableError, StoreUnavailableError
from ratchet.project.run import Run
from ratchet.storage.files import write_json
from tests.support.champions import fixed_predictor
from tests.support.runs import noshow_project

UNSIGNED = GateError("the signature does not fit", subject="gate record", remedy="Evaluate the model again")
NOTHING = RegistryError("nothing is promoted", subject="model noshow", remedy="Run `dvc repro`")


REFUSED = RegistryError("the signature does not fit", subject="version 2", remedy="Roll back")
AWAY = RegistryUnavailableError("does not answer", subject="model registry", remedy="Start it")
FULL = StoreUnavailableError("cannot be written", subject="serving.json", remedy="Make room")


class Registry:
    """Loads versions in turn, and fails when it is told to."""

    def __init__(self) -> None:
        self.loads = 0
        self.broken: Exception | None = None

    def load(self, run: Run) -> Predictor:
        if self.broken:
            raise self.broken
        self.loads += 1
        predictor = fixed_predictor(run)
        return replace(predictor, champion=replace(predictor.champion, version=self.loads))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = noshow_project(tmp_path)
    write_json(run.paths.serving_file, {"version": 1})
    return run


def test_a_model_is_loaded_once_per_promotion(run: Run) -> None:
    """What serves is loaded again when reconcile wrote something else, and only then."""
    registry = Registry()
    serving = ModelSlot(run, registry.load)
    serving.refresh()
    serving.refresh()
    assert 1 == serving.predictor.champion.version
    write_json(run.paths.serving_file, {"version": 2})
    serving.refresh()
    assert 2 == serving.predictor.champion.version


@pytest.mark.parametrize("trouble", [OSError("the disk is gone"), AWAY, FULL])
def test_what_is_loaded_stays_while_what_serves_cannot_be_learnt(run: Run, trouble: Exception) -> None:
    """A registry that is away and a full disk do not take down the model that answers; loading is tried again."""
    registry = Registry()
    serving = ModelSlot(run, registry.load)
    serving.refresh()
    registry.broken = trouble
    write_json(run.paths.serving_file, {"version": 2})
    serving.refresh()
    assert 1 == serving.predictor.champion.version
    registry.broken = None
    serving.refresh()
    assert 2 == serving.predictor.champion.version


@pytest.mark.parametrize("answer", [UNSIGNED, NOTHING, REFUSED])
def test_what_no_longer_serves_does_not_answer(run: Run, answer: Exception) -> None:
    """Once another version serves, or none, the one before is gone, and the reason is told, although nothing replaces it."""
    registry = Registry()
    serving = ModelSlot(run, registry.load)
    serving.refresh()
    registry.broken = answer
    write_json(run.paths.serving_file, {"version": 2})
    serving.refresh()
    assert not serving.ready
    with pytest.raises(RegistryError, match=str(answer)):
        _ = serving.predictor
    registry.broken = None
    serving.refresh()
    assert 2 == serving.predictor.champion.version


def test_a_serving_file_that_cannot_be_read_is_tried_again(run: Run) -> None:
    """Looking for a move never fails: the model that answers goes on, and the next move is followed."""
    serving = ModelSlot(run, Registry().load)
    serving.refresh()
    run.paths.serving_file.unlink()
    run.paths.serving_file.mkdir()
    serving.refresh()
    assert 1 == serving.predictor.champion.version
    run.paths.serving_file.rmdir()
    write_json(run.paths.serving_file, {"version": 2})
    serving.refresh()
    assert 2 == serving.predictor.champion.version


def test_without_a_model_there_is_a_reason(run: Run) -> None:
    """Until something could be loaded the service is not ready and says why."""
    registry = Registry()
    registry.broken = UNSIGNED
    serving = ModelSlot(run, registry.load)
    serving.refresh()
    assert not serving.ready
    with pytest.raises(RegistryError, match="the signature does not fit"):
        _ = serving.predictor
    registry.broken = None
    serving.refresh()
    assert serving.ready
