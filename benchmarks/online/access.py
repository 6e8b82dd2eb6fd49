"""What keys, limits and headers add to a request: `python -m benchmarks.online.access`.

A connection of uvicorn's and one of ours get the same request with a key, with no network between. A small application answers.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from inference_pipeline.online.access.access import Access
from inference_pipeline.online.access.connection import Connection
from inference_pipeline.online.access.guard import Guard
from inference_pipeline.online.access.key_file import KeyFile

HEADERS = (
    "Host: localhost",
    "Accept: */*",
    "Accept-Encoding: gzip, deflate",
    "Connection: keep-alive",
    "User-Agent: benchmark",
    "Content-Type: application/json",
    "Content-Length: 2",
)
REQUESTS = 5000
REPEATS = 7


class Peer(socket.socket):
    """A socket that says it was connected by another machine."""

    def getpeername(self) -> tuple[str, int]:
        return "192.0.2.9", 9


class Nowhere(asyncio.Transport):
    """A connection whose answers nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = Peer()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def write(self, data: object) -> None:
        """Send it nowhere."""

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""


async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def cost(protocol: Callable[..., HttpToolsProtocol], request: bytes) -> float:
    """CPU microseconds of a request, in the best of several rounds."""
    config = uvicorn.Config(answer, log_level="critical", proxy_headers=False, lifespan="off")
    config.load()
    connection = protocol(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(Nowhere())
    rounds = []
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(REQUESTS):
            connection.data_received(request)
            while not connection.cycle.response_complete:
                await asyncio.sleep(0)
        rounds.append((time.process_time() - began) / REQUESTS * 1e6)
    return min(rounds)


def main() -> None:
    with TemporaryDirectory() as folder:
        file = KeyFile(Path(folder) / "api_keys.json")
        key = file.add("benchmark", ["predict"], ["m"], "1000000/s", datetime.now(UTC))
        access = Access(file)
        access.refresh()
    lines = ["POST /v1/models/m:predict HTTP/1.1", *HEADERS, f"Authorization: Bearer {key}", "", "{}"]
    request = "\r\n".join(lines).encode()
    theirs = asyncio.run(cost(HttpToolsProtocol, request))
    ours = asyncio.run(cost(partial(Connection, Guard(access, 1 << 20)), request))
    print(f"uvicorn {theirs:.1f} µs, with keys and limits {ours:.1f} µs: {ours - theirs:.1f} µs more")  # noqa: T201


if __name__ == "__main__":
    main()
