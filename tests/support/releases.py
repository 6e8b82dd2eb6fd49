"""What a loader says, and what a serving process answers then, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient

from inference_pipeline.online.instances import REQUESTS
from inference_pipeline.online.loader import Loader
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import Inputs, Predictions
from inference_pipeline.online.release_folder import Current, ReleaseFolder
from inference_pipeline.online.rest import Application
from inference_pipeline.online.served import Served
from inference_pipeline.online.shared import Shared
from ratchet.project.run import Run


def say(run: Run, release: str | None = "v1", problem: str = "") -> None:
    """Let the service know which release serves, as of what is announced now."""
    folder = ReleaseFolder.of(run)
    folder.say(Current(release=release, examined=folder.announced(), problem=problem))


def slot(run: Run, load: Callable[[Run, Path, Shared], Predictor]) -> ModelSlot:
    """A slot with a release that is loaded like this, whose features come from elsewhere than the run's online store."""
    say(run)
    found = ModelSlot(run, load, lambda _run: "")
    found.refresh()
    return found


def client_of(*served: ModelSlot) -> TestClient:
    """A client of the service with these models, in this process."""
    app = Application()
    app.attach(Served(served))
    return TestClient(app)


def asked(predictor: Predictor, body: bytes) -> Inputs:
    """What a body of the first protocol asks."""
    return predictor.instances[REQUESTS].read_json(body)


def answer(run: Run, body: bytes) -> Predictions:
    """What the service would answer to a body of the first protocol, with the model that serves now."""
    with predicting(run) as predictor:
        return asyncio.run(predictor.predict(asked(predictor, body)))


@contextmanager
def predicting(run: Run) -> Iterator[Predictor]:
    """What answers with the model that serves now."""
    Loader(run).refresh()
    serving = ModelSlot(run)
    serving.refresh()
    try:
        yield serving.predictor
    finally:
        serving.close()
