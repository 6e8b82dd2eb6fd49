"""The service over gRPC on a real port, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc

from inference_pipeline.online import grpc_server
from inference_pipeline.online.access.access import Access
from inference_pipeline.online.access.key_file import KeyFile
from inference_pipeline.online.access.request_counts import RequestCounts
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.protocols.grpc_messages import message
from inference_pipeline.online.served import Served
from ratchet.core.environment import Environment
from tests.support.ports import free_port
from tests.support.waiting import LONGEST

INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T00:00:00Z"}


@dataclass(frozen=True)
class Client:
    """Calls the methods of a server."""

    channel: grpc.Channel

    def __call__(self, method: str, /, metadata: tuple[tuple[str, str], ...] = (), **fields: Any) -> Any:
        call = self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=message(f"{method}Response").FromString,
        )
        return call(message(f"{method}Request")(**fields), metadata=metadata, timeout=LONGEST)

    def infer(self, metadata: tuple[tuple[str, str], ...] = (), **changes: Any) -> Any:
        fields = {"model_name": "noshow-clinic", "inputs": tensors(INSTANCE), **changes}
        return self("ModelInfer", metadata, **fields)

    def after(self, metadata: tuple[tuple[str, str], ...]) -> dict[str, Any]:
        """What the service says at the end of an answer to a request for a prediction."""
        request = message("ModelInferRequest")(model_name="noshow-clinic", inputs=tensors(INSTANCE))
        call = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        _, ended = call.with_call(request.SerializeToString(), metadata=metadata, timeout=LONGEST)
        return dict(ended.trailing_metadata())

    def send(self, content: bytes) -> str:
        """Ask for a prediction with any bytes. Returns the name of the code of the answer."""
        call = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            call(content, timeout=LONGEST)
        except grpc.RpcError as error:
            return str(error.code().name)  # type: ignore[attr-defined] # it is a call, too
        return "OK"


def tensors(instance: dict[str, Any]) -> list[dict[str, Any]]:
    """An instance as tensors with contents."""
    forms = {str: ("BYTES", "bytes_contents"), int: ("INT64", "int64_contents"), float: ("FP64", "fp64_contents")}
    found = []
    for name, value in instance.items():
        datatype, field = forms[type(value)]
        contents = {field: [value.encode() if isinstance(value, str) else value]}
        found.append({"name": name, "datatype": datatype, "shape": [1], "contents": contents})
    return found


def no_keys(path: Path = Path("none.json")) -> Access:
    access = Access(KeyFile(path))
    access.refresh()
    return access


@contextmanager
def running(*slots: ModelSlot, access: Access | None = None) -> Iterator[Client]:
    """The service in an event loop of its own."""
    address, ready, stop = f"127.0.0.1:{free_port()}", Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await grpc_server.start(Served(slots), access or no_keys(), Environment(grpc=address), RequestCounts())
        ready.set()
        await stop.wait()
        await server.stop(5)

    thread = Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(LONGEST)
        with grpc.insecure_channel(address) as channel:
            yield Client(channel)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
