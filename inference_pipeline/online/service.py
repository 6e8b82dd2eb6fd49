"""The BentoML service: `bentoml serve inference_pipeline.online.service:Inference` from the root of the checkout."""

from __future__ import annotations

import asyncio
import gc

from anyio import to_thread

from inference_pipeline.online.metrics import show_freshness
from inference_pipeline.online.rest import application, attach
from ratchet.core.telemetry import disable_telemetry
from ratchet.project.run import Run

disable_telemetry()
import bentoml  # noqa: E402 # reads its telemetry switch when imported

POLL_SECONDS = 2.0
app = application()


@bentoml.service(
    name="ratchet",
    workers=1,
    traffic={
        "timeout": 2.0
    },  # BentoML keeps each request's context this long: longer costs memory and slow collections
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app)
class Inference:
    """Serves the champion of every use case of params.yaml, and loads another version when reconcile lets it serve."""

    def __init__(self) -> None:
        from inference_pipeline.online.model_slot import ModelSlot  # imports MLflow, which only the worker needs

        self._served = [ModelSlot(run) for run in Run.load_all()]
        self._polling: asyncio.Task[None] | None = None
        attach(app, self._served)

    @bentoml.on_startup  # type: ignore[untyped-decorator] # BentoML's types are skipped
    async def start(self) -> None:
        await to_thread.run_sync(self._refresh)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self._polling = asyncio.create_task(self._poll())

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        if self._polling:
            self._polling.cancel()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await to_thread.run_sync(self._refresh)

    def _refresh(self) -> None:
        for serving in self._served:
            serving.refresh()
            show_freshness(serving.run)

    def __is_ready__(self) -> bool:
        """Ready if any model is: the others may still have no version. `GET /v1/models/NAME` answers for each model."""
        return any(serving.ready for serving in self._served)
