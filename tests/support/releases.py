"""What a loader says, and what a serving process answers then, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from inference_pipeline.online.loader import Loader
from inference_pipeline.online.log_writer import LogWriter
from inference_pipeline.online.metrics import Counts
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import Predictions
from inference_pipeline.online.release_folder import Current, ReleaseFolder
from ratchet.project.run import Run


def say(run: Run, release: str | None = "v1", problem: str = "") -> None:
    """Let the service know which release serves, as of what is announced now."""
    folder = ReleaseFolder.of(run)
    folder.say(Current(release=release, examined=folder.announced(), problem=problem))


def slot(run: Run, load: Callable[[Run, Path, LogWriter, Counts], Predictor]) -> ModelSlot:
    """A slot with a release that is loaded like this."""
    say(run)
    found = ModelSlot(run, load)
    found.refresh()
    return found


def answer(run: Run, body: bytes) -> Predictions:
    """What the service would answer to a body of the first protocol, with the model that serves now."""
    Loader(run).refresh()
    serving = ModelSlot(run)
    serving.refresh()
    try:
        return asyncio.run(serving.predictor.predict(serving.predictor.readers["v1"](body)))
    finally:
        serving.close()
