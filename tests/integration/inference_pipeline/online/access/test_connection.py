"""Real connections to uvicorn with a small application: whoever is too slow, too long or half gone holds up nobody."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from time import sleep

import httpx
import pytest
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inference_pipeline.online.access import connection
from inference_pipeline.online.access.access import Access
from inference_pipeline.online.access.guard import Guard
from inference_pipeline.online.access.key_file import KeyFile
from tests.support.addresses import own_address
from tests.support.waiting import LONGEST, awaited


async def echo(request: Request) -> Response:
    return JSONResponse({"length": len(await request.body()), "trailer": "x-late" in request.headers})


async def wait_until_gone(request: Request) -> Response:
    """Answers when it is told that the caller has gone."""
    body = await request.body()
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    return JSONResponse({"length": len(body)})


@contextmanager
def serving(access: Access) -> Iterator[httpx.Client]:
    """The application behind the guard, on a free port, in a thread."""
    connection.serve_through(Guard(access, max_body=1000))
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104 - it is reached by the machine's own address, too
        port = listener.getsockname()[1]
        paths = {"/v1/models/m:predict": echo, "/gone": wait_until_gone}
        routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in paths.items()]
        app = Starlette(routes=[*routes, Route("/", echo)])
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", server_header=False))
        thread = Thread(target=lambda: uvloop.run(server.serve([listener])))  # as in the service
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=LONGEST) as client:
            try:
                yield client
            finally:
                server.should_exit = True
                thread.join()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile(tmp_path_factory.mktemp("keys") / "api_keys.json")


@pytest.fixture(scope="module")
def client(file: KeyFile) -> Iterator[httpx.Client]:
    """A service without keys."""
    access = Access(file)
    access.refresh()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "LINGER_SECONDS", 0.3)
        patch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")  # put back at the end
        with serving(access) as client:
            yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are made from now on wait a short time for a request."""
    monkeypatch.setattr(connection, "RECEIVE_SECONDS", 0.5)


@pytest.fixture
def caller(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=LONGEST) as caller:
        yield caller


def head(*lines: str, path: str = "/v1/models/m:predict") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def answer(caller: socket.socket) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of all that comes until the connection is closed."""
    received = b"".join(iter(lambda: caller.recv(65536), b""))
    first, *lines = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return (
        int(first.split()[1]),
        dict(line.lower().split(": ", 1) for line in lines),
        received.decode().split("\r\n\r\n")[1],
    )


def lengths(caller: socket.socket) -> list[int]:
    """What the application says of each of several bodies."""
    received = b"".join(iter(lambda: caller.recv(65536), b""))
    return [json.loads(part.split(b"\r\n\r\n")[1])["length"] for part in received.split(b"HTTP/1.1 200")[1:]]


def test_a_request_is_answered_with_headers_that_protect(client: httpx.Client) -> None:
    found = client.post("/v1/models/m:predict", content=b"x" * 900, headers={"X-Request-Id": "mine-1"})
    assert (200, 900, "mine-1") == (found.status_code, found.json()["length"], found.headers["x-request-id"])
    assert ("nosniff", "no-store") == (found.headers["x-content-type-options"], found.headers["cache-control"])
    assert "server" not in found.headers
    assert client.post("/nowhere").headers["x-request-id"]


@pytest.mark.parametrize(
    "lines", [[f"X-Long: {'x' * 1_000_000}"], [f"X-{number}: x" for number in range(200)], [f"X-Long: {'x' * 40_000}"]]
)
def test_too_many_headers(caller: socket.socket, lines: list[str]) -> None:
    """431, also if most of them are still being sent when it is decided."""
    caller.sendall(head(*lines))
    status, headers, body = answer(caller)
    assert (431, "close", "nosniff") == (status, headers["connection"], headers["x-content-type-options"])
    assert "headers" in json.loads(body)["error"]


@pytest.mark.parametrize("sent", [b"", b"POST / HT", head("Content-Length: 10") + b"12345", head("Content-Length: 10")])
def test_whoever_is_slow_is_cut_off(impatient: None, client: httpx.Client, caller: socket.socket, sent: bytes) -> None:
    """Others are answered meanwhile. A caller who goes on byte by byte is cut off, too."""
    caller.sendall(sent)
    assert 200 == client.post("/v1/models/m:predict", content=b"{}").status_code
    status, headers, _ = answer(caller)
    assert (408, True) == (status, "x-request-id" in headers)


def test_a_trickle_is_cut_off(impatient: None, caller: socket.socket) -> None:
    caller.sendall(head("Content-Length: 1000"))
    with pytest.raises(OSError, match=r"reset|pipe"):
        trickle(caller)


def trickle(caller: socket.socket, piece: bytes = b"x") -> None:
    """Send piece by piece, for up to ten seconds. Raises OSError when the connection is closed."""
    for _ in range(1000):
        caller.sendall(piece)
        sleep(0.01)


def test_a_slow_sender_in_time_is_answered(caller: socket.socket) -> None:
    """The body in pieces is one body."""
    caller.sendall(head("Content-Length: 6", "Connection: close"))
    for piece in (b"ab", b"cd", b"ef"):
        caller.sendall(piece)
        sleep(0.02)
    status, _, body = answer(caller)
    assert (200, 6) == (status, json.loads(body)["length"])


def test_too_many_connections_are_refused(
    client: httpx.Client, caller: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are there go on, and there is room again when others have gone."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 5)
    caller.sendall(head("Content-Length: 1") + b"x")
    assert b"200" in caller.recv(65536)
    place = client.base_url.host, client.base_url.port or 0
    with ExitStack() as stack:
        for _ in range(5):
            last = stack.enter_context(socket.create_connection(place, timeout=LONGEST))
        assert 503 == answer(last)[0]
        caller.sendall(head("Content-Length: 2", "Connection: close") + b"xy")
        assert [2] == lengths(caller)

    def is_answered() -> bool:
        with socket.create_connection(place, timeout=LONGEST) as other:
            other.sendall(head("Content-Length: 3", "Connection: close") + b"xyz")
            return answer(other)[0] == 200

    awaited(is_answered)


def test_a_half_closed_caller_is_answered(caller: socket.socket) -> None:
    """The application is told that the caller has gone: it may be so."""
    caller.sendall(head("Content-Length: 2", path="/gone") + b"{}")
    caller.shutdown(socket.SHUT_WR)
    status, _, body = answer(caller)
    assert (200, 2) == (status, json.loads(body)["length"])


def test_half_a_request_of_a_half_closed_caller_is_dropped(caller: socket.socket) -> None:
    caller.sendall(head("Content-Length: 20") + b"{}")
    caller.shutdown(socket.SHUT_WR)
    assert b"" == caller.recv(100)


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
def test_another_protocol_is_answered_in_this_one(caller: socket.socket, upgrade: str) -> None:
    """With its body, which is not lost. The connection can be used again."""
    offer = ("Connection: Upgrade", f"Upgrade: {upgrade}", "Sec-WebSocket-Key: x")
    for piece in (
        head(*offer, "Content-Length: 2") + b"{",
        b"}" + head("Connection: close", "Content-Length: 3") + b"123",
    ):
        caller.sendall(piece)
        sleep(0.02)
    assert [2, 3] == lengths(caller)


def test_many_offers_at_once(caller: socket.socket) -> None:
    """Each request is answered, and one that is broken is refused like others."""
    offer = head("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2") + b"{}"
    caller.sendall(offer * 50 + head("Connection: close", "Content-Length: 3") + b"123")
    assert [2] * 50 + [3] == lengths(caller)


def test_an_offer_with_a_broken_body(caller: socket.socket) -> None:
    caller.sendall(head("Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked") + b"no chunk\r\n")
    assert 400 == answer(caller)[0]


def test_headers_after_the_body_are_no_headers(caller: socket.socket) -> None:
    caller.sendall(head("Transfer-Encoding: chunked", "Connection: close") + b"2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n")
    status, _, body = answer(caller)
    assert (200, 2, False) == (status, json.loads(body)["length"], json.loads(body)["trailer"])


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        head("Content-Length: 1", "Content-Length: 2"),
        head("Content-Length: 1", "Transfer-Encoding: chunked"),
    ],
)
def test_what_is_no_http_is_refused_as_all_else(caller: socket.socket, sent: bytes) -> None:
    caller.sendall(sent)
    status, headers, body = answer(caller)
    assert (400, "nosniff", True) == (status, headers["x-content-type-options"], "error" in json.loads(body))


def test_requests_one_after_the_other_are_each_answered(caller: socket.socket) -> None:
    """Sent at once, with a second head that comes in two pieces."""
    one = head("Content-Length: 2") + b"{}"
    last = head("Content-Length: 3", "Connection: close") + b"123"
    caller.sendall(one + one + last[:20])
    sleep(0.05)
    caller.sendall(last[20:])
    received = b"".join(iter(lambda: caller.recv(65536), b""))
    assert [2, 2, 3] == [
        json.loads(part.split(b"\r\n\r\n")[1])["length"] for part in received.split(b"HTTP/1.1 200")[1:]
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole request may have 5000 bytes."""
    monkeypatch.setattr(connection, "MAX_MESSAGE", 5000)


def test_a_body_without_end_is_refused(small: None, caller: socket.socket) -> None:
    caller.sendall(head("Content-Length: 100000") + b"x" * 50_000)
    assert 413 == answer(caller)[0]


def test_a_body_without_end_is_cut_off_after_its_answer(small: None, caller: socket.socket) -> None:
    """The guard reads no more of it than the application wants."""
    caller.sendall(head("Content-Length: 100000", path="/nowhere") + b"x" * 2000)
    assert caller.recv(2000).startswith(b"HTTP/1.1 404")
    with pytest.raises(OSError, match=r"reset|pipe"):
        trickle(caller, b"x" * 5000)


def test_without_any_key_only_this_machine_is_answered(client: httpx.Client) -> None:
    """By the addresses of the real connection, and without a proxy between."""
    asked = [f"http://{own_address()}:{client.base_url.port}/", f"http://127.0.0.2:{client.base_url.port}/"]
    assert [403, 200] == [httpx.get(address, trust_env=False, timeout=LONGEST).status_code for address in asked]
    assert 403 == client.get("/", headers={"X-Forwarded-For": "127.0.0.1"}).status_code


def test_without_a_key_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal comes before the body. With the key, the same connection goes on."""
    file = KeyFile(tmp_path / "api_keys.json")
    key = file.add("app", ["predict"], [], "", datetime.now(UTC))
    access = Access(file)
    access.refresh()
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")
    with serving(access) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=LONGEST) as caller:
            caller.sendall(head("Content-Length: 100000"))
            assert caller.recv(100).startswith(b"HTTP/1.1 401")
        for _ in range(2):
            assert 401 == client.post("/v1/models/m:predict", content=b"{}").status_code
            found = client.post("/v1/models/m:predict", content=b"{}", headers={"Authorization": f"Bearer {key}"})
            assert 200 == found.status_code
