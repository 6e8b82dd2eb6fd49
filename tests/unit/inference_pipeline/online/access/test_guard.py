"""What the guard does with requests and answers, around an application that is there for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from inference_pipeline.online.access.access import Access
from inference_pipeline.online.access.guard import Guard
from inference_pipeline.online.access.key_file import KeyFile
from inference_pipeline.online.access.request_context import CURRENT_REQUEST, RequestContext

Headers = dict[bytes, bytes]
FAULT = "/fault"
"""A path at which the application fails."""


class Application:
    """Notes what it is asked, and answers with a page."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.context: RequestContext | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.context = CURRENT_REQUEST.get()
        self.messages = [await receive(), await receive()]
        kind = (b"content-type", scope["path"].rpartition("/")[2].encode() or b"text/html; charset=utf-8")
        if scope["path"] == FAULT:
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        await send({"type": "http.response.body", "body": b""})


class Asked:
    """A request through a guard: its answer, and what the application saw."""

    def __init__(
        self,
        guard: Guard,
        path: str = "/",
        headers: Headers | None = None,
        body: Iterable[bytes] = (b"",),
        **scope: Any,
    ) -> None:
        self.app, self.sent = Application(), list[Message]()
        pieces = [*body]
        self._coming: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": place < len(pieces)}
            for place, piece in enumerate(pieces, 1)
        ]
        there = ("127.0.0.1", 1)
        asked = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "client": there,
            "server": there,
            "state": {},
            **scope,
        }
        self.scope: Scope = {**asked, "path": path, "raw_path": path.encode(), "headers": list((headers or {}).items())}
        self.fault: Exception | None = None
        try:
            asyncio.run(guard(self.app, self.scope, self._receive, self._send))
        except ZeroDivisionError as fault:
            self.fault = fault

    async def _receive(self) -> Message:
        return self._coming.pop(0) if self._coming else {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> Headers:
        return dict(self.sent[0]["headers"])


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "api_keys.json")


@pytest.fixture
def guard(file: KeyFile) -> Guard:
    access = Access(file)
    access.refresh()
    return Guard(access, max_body=10)


@pytest.mark.parametrize("sent", [b"order-4711", b"a.b_c:d-e", b"x" * 128])
def test_a_safe_request_id_is_kept(guard: Guard, sent: bytes) -> None:
    asked = Asked(guard, headers={b"x-request-id": sent})
    assert (sent, RequestContext(sent.decode(), "")) == (asked.headers[b"x-request-id"], asked.app.context)


@pytest.mark.parametrize("sent", [b"", b"a b", b"a\nb", b"x" * 129, "é".encode(), b"<script>", None])
def test_any_other_is_replaced(guard: Guard, sent: bytes | None) -> None:
    made = [
        Asked(guard, headers={} if sent is None else {b"x-request-id": sent}).headers[b"x-request-id"] for _ in range(3)
    ]
    assert 3 == len({*made} - {sent})


def test_a_page_may_load_nothing_from_elsewhere(guard: Guard) -> None:
    assert b"default-src 'self'" in Asked(guard).headers[b"content-security-policy"]
    assert b"content-security-policy" not in Asked(guard, "/json").headers


def test_a_body_in_pieces_is_one_message(guard: Guard) -> None:
    """After it, all that comes means that the caller has gone."""
    whole, gone = Asked(guard, body=[b"ab", b"", b"cd"]).app.messages
    assert {"type": "http.request", "body": b"abcd", "more_body": False} == whole
    assert "http.disconnect" == gone["type"]


def test_of_a_long_body_no_more_is_read_than_shows_that(guard: Guard) -> None:
    """The application decides what to do with it, and could read on."""
    first, second = Asked(guard, body=[b"x" * 6] * 5).app.messages
    assert (12, True) == (len(first["body"]), first["more_body"])
    assert b"x" * 6 == second["body"]


def test_the_caller_is_noted(guard: Guard, file: KeyFile) -> None:
    key = file.add("app", ["predict"], [], "", datetime.now(UTC))
    access = Access(file)
    access.refresh()
    asked = Asked(Guard(access, 10), "/v1/models", {b"authorization": f"Bearer {key}".encode()})
    assert "app" == asked.scope["state"]["caller"].name
    assert asked.app.context
    assert "app" == asked.app.context.caller


def test_a_refusal_is_an_answer_like_others(guard: Guard) -> None:
    asked = Asked(guard, client=("192.0.2.9", 1), headers={b"x-request-id": b"mine"})
    assert (403, b"mine", b"nosniff") == (
        asked.sent[0]["status"],
        asked.headers[b"x-request-id"],
        asked.headers[b"x-content-type-options"],
    )
    assert int(asked.headers[b"content-length"]) == len(asked.sent[1]["body"])
    assert [] == asked.app.messages


def test_a_fault_is_an_answer_like_others(guard: Guard) -> None:
    """The server gets it, too, to log it."""
    asked = Asked(guard, FAULT, headers={b"x-request-id": b"mine"})
    assert (500, b"mine", True) == (asked.sent[0]["status"], asked.headers[b"x-request-id"], asked.fault is not None)


def test_some_paths_are_answered_without_the_application(file: KeyFile) -> None:
    """They are guarded as others are."""
    access, direct = Access(file), Application()
    access.refresh()
    guard = Guard(access, 10, direct={"/v1/models": direct}.get)
    asked = [Asked(guard, path, body=[b"ab"]) for path in ("/v1/models", "/v2")]
    assert [(200, 0), (200, 2)] == [(each.sent[0]["status"], len(each.app.messages)) for each in asked]
    assert b"ab" == direct.messages[0]["body"]
    assert 403 == Asked(guard, "/v1/models", client=("192.0.2.9", 1)).sent[0]["status"]


def test_unreadable_keys_make_the_service_unready(file: KeyFile) -> None:
    """It lives, and is not ready."""
    file.path.write_bytes(b"torn")
    access = Access(file)
    access.refresh()
    asked = [Asked(Guard(access, 10), path) for path in ("/livez", "/readyz", "/v2/health/ready", "/v1/models")]
    assert [200, 503, 503, 503] == [each.sent[0]["status"] for each in asked]
    assert b"log" in asked[1].sent[1]["body"]


def test_tls_that_is_set_and_not_used_is_noticed(file: KeyFile) -> None:
    access = Access(file)
    access.refresh()
    guard = Guard(access, 10, only_tls=True)
    assert [403, 200] == [Asked(guard, scheme=scheme).sent[0]["status"] for scheme in ("http", "https")]
