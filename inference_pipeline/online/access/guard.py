"""The guard in front of the service: every HTTP request passes it, before any code of BentoML or the service sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_pipeline.online.access.access import Access, Caller, RefusedError
from inference_pipeline.online.access.addresses import is_local
from inference_pipeline.online.access.answers import error_answer, protected
from inference_pipeline.online.access.needs import PROBES, READINESS, need_of
from inference_pipeline.online.access.request_context import CURRENT_REQUEST, RequestContext, request_id_of
from inference_pipeline.online.access.request_counts import GONE, RequestCounts

_DISCONNECT: Message = {"type": "http.disconnect"}


class Guard:
    """Lets in whom `access` admits, waits for the body, and completes the headers of the answer.

    It waits for at most `max_body` bytes of the body, so that the time of a slow sender is not taken from the deadline of the
    answer. If `only_tls` is set, a request that came without TLS is refused. Each request is counted. `direct` says for a path
    what answers it in place of the application, with fewer layers; None for most.

    The caller is in `scope["state"]["caller"]`, and with the request's id in `CURRENT_REQUEST`.
    """

    def __init__(
        self,
        access: Access,
        max_body: int,
        *,
        only_tls: bool = False,
        requests: RequestCounts | None = None,
        direct: Callable[[str], ASGIApp | None] = lambda _path: None,
    ) -> None:
        self._access = access
        self._direct = direct
        self.requests = requests or RequestCounts()
        self._max_body = max_body
        self._only_tls = only_tls

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request through `app`, or what is direct for its path; or refuse it."""
        began, status = time.perf_counter(), GONE
        headers = dict(scope["headers"])
        request_id = request_id_of(headers.get(b"x-request-id"))
        CURRENT_REQUEST.set(RequestContext(request_id, ""))

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                message["headers"] = protected(list(message["headers"]), request_id)
                status = str(message["status"])
            await send(message)

        try:
            caller = self._admitted(scope, headers)
            scope["state"]["caller"] = caller
            CURRENT_REQUEST.set(RequestContext(request_id, caller.name))
            await self._answer(app, scope, receive, answer)
        except RefusedError as refused:
            await _refuse(answer, refused)
        except Exception:
            if status == GONE:
                await _refuse(answer, RefusedError(500, "the service failed: see its log"))
            raise  # to uvicorn, which logs it
        finally:
            asked = need_of(scope["method"], scope["path"]).asked
            line = f"{scope['method']} {scope['raw_path'].decode('latin-1')}"
            self.requests.add(asked, status, time.perf_counter() - began, line)

    async def _answer(self, app: ASGIApp, scope: Scope, receive: Receive, answer: Send) -> None:
        """Let the application answer, when the body is there."""
        first = await receive()
        if first.get("more_body"):
            first = await self._rest(first, receive)
        if first["type"] == "http.request":
            answering = self._direct(scope["path"]) or app
            await answering(_answered_as(scope), _replayed(first, receive), answer)

    def _admitted(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Raises RefusedError."""
        if self._only_tls and scope["scheme"] != "https":
            raise RefusedError(
                403, "this service is meant to use TLS, and was started without: start it by `ratchet serve`"
            )
        path, credentials = scope["path"], headers.get(b"authorization")
        caller = self._access.admit(
            credentials.decode("latin-1") if credentials is not None else None,
            need_of(scope["method"], path),
            is_local(_host(scope["client"]), _host(scope["server"]), headers),
        )
        if self._access.problem and path in READINESS:
            raise RefusedError(503, "the API keys cannot be read: see the service's log")
        return caller

    async def _rest(self, first: Message, receive: Receive) -> Message:
        """The body in one message, or the part of it that is already too long; or that the caller has gone."""
        message, body = first, bytearray(first["body"])
        while message.get("more_body") and len(body) <= self._max_body:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message["body"]
        return {"type": "http.request", "body": bytes(body), "more_body": message.get("more_body", False)}


def _answered_as(scope: Scope) -> Scope:
    """Probes are answered by the service itself: BentoML would also ask the loader, without which workers go on."""
    path = PROBES.get(scope["path"])
    return {**scope, "path": path, "raw_path": path.encode()} if path else scope


def _replayed(first: Message, receive: Receive) -> Receive:
    """Gives the message that was received before. What comes after a whole body can only mean that the caller has gone."""
    given: Message | None = first

    async def replay() -> Message:
        nonlocal given
        if given is not None:
            message, given = given, None
            return message
        following = await receive()
        return following if first.get("more_body") else _DISCONNECT

    return replay


async def _refuse(send: Send, refused: RefusedError) -> None:
    headers, body = error_answer(refused.reason, refused.headers)
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _host(address: tuple[str, int] | None) -> str:
    return address[0] if address else ""
