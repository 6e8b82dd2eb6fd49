"""Whatever bytes a connection receives, in whatever pieces: nothing is raised, and requests that are whole are answered."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from inference_pipeline.online.access.access import Access
from inference_pipeline.online.access.connection import Connection
from inference_pipeline.online.access.guard import Guard
from inference_pipeline.online.access.key_file import KeyFile

WHOLE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Late: 1\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
)
PARTS = (*WHOLE, b"\r\n", b"\x00", b"GET ", b"Content-Length: 9\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"x" * 40_000)


class Recorder(asyncio.Transport):
    """A connection from this machine that notes what is sent over it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self._is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return Loopback() if name == "socket" else default

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    def pause_reading(self) -> None:
        """What comes is given to the protocol all the same."""

    def resume_reading(self) -> None:
        """Nothing was paused."""


class Loopback:
    """The socket of a connection within this machine."""

    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 9

    getsockname = getpeername


async def read_all(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    access = Access(KeyFile(tmp_path_factory.mktemp("keys") / "api_keys.json"))
    access.refresh()
    return Guard(access, max_body=1000)


async def statuses(guard: Guard, pieces: Sequence[bytes]) -> list[int]:
    """The status of each answer to what is received in these pieces. The application runs after each of them."""
    config = uvicorn.Config(read_all, log_config=None, lifespan="off")
    config.load()
    connection, transport = Connection(guard, config, ServerState(), {}), Recorder()
    connection.connection_made(transport)
    for piece in pieces:
        if not transport.is_closing():
            connection.data_received(piece)
        for _ in range(50):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", transport.sent)]


def cut(text: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)]


PLACES = st.lists(st.integers(0, 10**6), max_size=8)


@given(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=5), PLACES)
def test_whole_requests_are_answered_in_any_pieces(guard: Guard, requests: list[bytes], places: list[int]) -> None:
    assert [200] * len(requests) == asyncio.run(statuses(guard, cut(b"".join(requests), places)))


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=30), max_size=8), PLACES)
def test_any_other_bytes_raise_nothing(guard: Guard, parts: list[bytes], places: list[int]) -> None:
    """After a refusal there is no further answer."""
    found = asyncio.run(statuses(guard, cut(b"".join(parts), places)))
    assert {*found} <= {200, 400, 403, 413, 431}
    assert not any(status in {400, 413, 431} for status in found[:-1])
