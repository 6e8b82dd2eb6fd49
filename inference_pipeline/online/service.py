"""The BentoML service: `bentoml serve inference_pipeline.online.service:Inference` from the root of the checkout.

BentoML starts two kinds of processes, and starts one again that ends: workers, which answer, and a loader, which finds out what
serves and makes releases of it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress

from anyio import to_thread

from inference_pipeline.online.metrics import show_freshness
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.rest import application, attach
from ratchet.core.environment import Environment
from ratchet.core.telemetry import disable_telemetry
from ratchet.project.run import Run

disable_telemetry()
import bentoml  # noqa: E402 # reads its telemetry switch when imported

POLL_SECONDS = 2.0
app = application()


async def _poll(refresh: Callable[[], None], show: Callable[[], None] = lambda: None) -> None:
    """Every few seconds `refresh` in a thread, and then `show`."""
    while True:
        await to_thread.run_sync(refresh)
        show()
        await asyncio.sleep(POLL_SECONDS)


@bentoml.service(name="loader", workers=1, tracing={"excluded_urls": ".*"}, logging={"access": {"enabled": False}})
class Loader:
    """Makes a release of what serves, for every use case of params.yaml, whenever reconcile lets another model serve."""

    def __init__(self) -> None:
        from inference_pipeline.online.loader import Loader as OfUseCase  # imports MLflow, which workers do not need

        self._loaders = [OfUseCase(run) for run in Run.load_all()]
        self._polling: asyncio.Task[None] | None = None

    @bentoml.on_startup  # type: ignore[untyped-decorator] # BentoML's types are skipped
    async def start(self) -> None:
        self._polling = asyncio.create_task(_poll(self._refresh))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        await _cancelled(self._polling)

    def _refresh(self) -> None:
        for loader in self._loaders:
            loader.refresh()


@bentoml.service(
    name="ratchet",
    workers=Environment.from_environment().workers,
    traffic={
        "timeout": 2.0
    },  # BentoML keeps each request's context this long: longer costs memory and slow collections
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app)
class Inference:
    """Serves the release of every use case of params.yaml, and another one as soon as the loader has made it."""

    loader = bentoml.depends(Loader)

    def __init__(self) -> None:
        self._served = [ModelSlot(run) for run in Run.load_all()]
        self._polling: asyncio.Task[None] | None = None
        attach(app, self._served)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        await to_thread.run_sync(self._refresh)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self._polling = asyncio.create_task(_poll(self._refresh, self._show))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        await _cancelled(self._polling)
        self._show()
        for serving in self._served:
            await to_thread.run_sync(serving.close)

    def _refresh(self) -> None:
        for serving in self._served:
            serving.refresh()
            show_freshness(serving.run)

    def _show(self) -> None:
        for serving in self._served:
            serving.counts.show()

    def __is_ready__(self) -> bool:
        """Ready if any model is: the others may still have no version. `GET /v1/models/NAME` answers for each model."""
        return any(serving.ready for serving in self._served)


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    if task:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
