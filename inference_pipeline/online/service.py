"""The BentoML service: `bentoml serve inference_pipeline.online.service:Inference` from the root of the checkout.

BentoML starts two kinds of processes, and starts one again that ends: workers, which answer, and a loader, which finds out what
serves and makes releases of it. A Bento has its one release, and no loader.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from anyio import to_thread
from opentelemetry import trace

from inference_pipeline.online import traces
from inference_pipeline.online.access.access import Access
from inference_pipeline.online.access.connection import serve_through
from inference_pipeline.online.access.draining import drain_at_the_end
from inference_pipeline.online.access.guard import Guard
from inference_pipeline.online.access.key_file import KeyFile
from inference_pipeline.online.access.request_counts import RequestCounts
from inference_pipeline.online.bodies import MAX_BODY
from inference_pipeline.online.logs import write_logs
from inference_pipeline.online.metrics import show_freshness
from inference_pipeline.online.model_slot import PATIENCE_FOR_NOTHING, ModelSlot
from inference_pipeline.online.rest import Application
from inference_pipeline.online.served import Served
from ratchet.core.environment import Environment
from ratchet.core.telemetry import disable_telemetry
from ratchet.project.run import Run

disable_telemetry()
import bentoml  # noqa: E402 # reads its telemetry switch when imported
from bentoml._internal.configuration.containers import BentoMLContainer  # noqa: E402

if TYPE_CHECKING:
    import grpc.aio

POLL_SECONDS = 2.0
JUDGE_SECONDS = 300.0
"""Between two looks at the outcomes of rollouts."""
SECONDS_BETWEEN_LOOKS = 0.1
"""While a process starts."""
NICENESS = 5
"""Of the loader: while it verifies a release, a process that answers gets three quarters of a processor that both need."""
SECONDS_TO_FINISH = 5.0
"""What a call over gRPC that has begun gets when the service stops."""
environment = Environment.from_environment()
app = Application()
IS_PACKAGED = Run.load().paths.packaged.is_dir()
access = Access(KeyFile.open(Run.load()), environment.workers)
requests = RequestCounts(writes_lines=environment.request_lines)
guard = Guard(
    access,
    MAX_BODY,
    only_tls=environment.tls_certificate != "",
    requests=requests,
    direct=app.direct if not environment.traces else lambda _path: None,  # BentoML's layers make the spans
)
serve_through(guard)
drain_at_the_end()
write_logs(environment.log_lines)


async def _poll(
    refresh: Callable[[], None], show: Callable[[], None] = lambda: None, seconds: float = POLL_SECONDS
) -> None:
    """Every few seconds `refresh` in a thread, and then `show`."""
    while True:
        await to_thread.run_sync(refresh)
        show()
        await asyncio.sleep(seconds)


@bentoml.service(
    name="loader",
    workers=1,
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Loader:
    """Makes a release of what serves, for every use case of params.yaml, whenever reconcile lets another model serve."""

    def __init__(self) -> None:
        os.nice(NICENESS)
        from inference_pipeline.online.loader import Loader as OfUseCase

        self._loaders = [OfUseCase(run) for run in Run.load_all()]
        self._tasks: list[asyncio.Task[None]] = []

    @bentoml.on_startup  # type: ignore[untyped-decorator] # BentoML's types are skipped
    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(_poll(self._refresh)),
            asyncio.create_task(_poll(self._judge, seconds=JUDGE_SECONDS)),
        ]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        for task in self._tasks:
            await _cancelled(task)

    def _refresh(self) -> None:
        access.refresh()
        for loader in self._loaders:
            loader.refresh()

    def _judge(self) -> None:
        for loader in self._loaders:
            loader.judge()


@bentoml.service(
    name="ratchet",
    workers=environment.workers,
    traffic={"timeout": 5.0},  # for pages, and longer than `application` has for predictions
    tracing=traces.settings(environment),
    logging={"access": {"enabled": False}},
    metrics={
        "enabled": False
    },  # they have the paths that callers make up as labels; `application` has a path of its own
)
@bentoml.asgi_app(app)
class Inference:
    """Serves the release of every use case of params.yaml, and another one as soon as the loader has made it."""

    if not IS_PACKAGED:  # a Bento has its release
        loader = bentoml.depends(Loader)

    def __init__(self) -> None:
        self._served = Served([ModelSlot(run) for run in Run.load_all()])
        self._polling: list[asyncio.Task[None]] = []
        self._grpc: grpc.aio.Server | None = None
        app.attach(self._served)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        await self._settled()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self._polling = [
            asyncio.create_task(_poll(self._refresh, self._show)),
            asyncio.create_task(_poll(self._check_stores)),
        ]
        if environment.traces:
            trace.set_tracer_provider(BentoMLContainer.tracer_provider.get())
        self._grpc = await self._start_grpc() if environment.grpc else None

    async def _settled(self) -> None:
        """Load what serves. The first process to start may have to wait until the loader has found that out."""
        for _ in range(int(PATIENCE_FOR_NOTHING / SECONDS_BETWEEN_LOOKS)):
            await to_thread.run_sync(self._refresh)
            if all(serving.is_settled for serving in self._served.slots):
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        if self._grpc:
            await self._grpc.stop(SECONDS_TO_FINISH)
        for task in self._polling:
            await _cancelled(task)
        self._show()
        for serving in self._served.slots:
            await to_thread.run_sync(serving.close)

    async def _start_grpc(self) -> grpc.aio.Server:
        from inference_pipeline.online import grpc_server  # imports grpcio, which not everybody needs

        return await grpc_server.start(self._served, access, environment, requests)

    def _refresh(self) -> None:
        access.refresh()
        for serving in self._served.slots:
            serving.refresh()
            show_freshness(serving.run)

    def _check_stores(self) -> None:
        for serving in self._served.slots:
            serving.check_store()

    def _show(self) -> None:
        requests.show()
        for serving in self._served.slots:
            serving.show()

    def __is_ready__(self) -> bool:
        """Ready if any model is: the others may still have no version. `GET /v1/models/NAME` answers for each model."""
        return self._served.is_ready()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
