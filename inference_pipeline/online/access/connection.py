"""The connections of the service: uvicorn's, with limits that it does not have, and the guard in front of the application."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop, BaseTransport, TimerHandle
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn.config
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from inference_pipeline.online.access.answers import raw_error
from inference_pipeline.online.access.guard import Guard
from inference_pipeline.online.access.request_context import request_id_of
from inference_pipeline.online.access.request_counts import UNREADABLE

MAX_HEADERS = 100
MAX_HEAD = 32 << 10
"""Bytes of a request's first line and headers."""
MAX_MESSAGE = 16 << 20
"""Bytes of a whole request, as it is sent: chunks may be longer than the body in them."""
MAX_CONNECTIONS = 500
"""Of a process. More of them would leave no file descriptor for its log: usual limits are 1,024."""
RECEIVE_SECONDS = 10.0
"""Within this time a whole request must arrive, counted from its first byte, or from the start of the connection."""
LINGER_SECONDS = 1.0
"""For so long what a refused caller still sends is read, and dropped: it may not read its answer before it has sent all."""


def serve_through(guard: Guard) -> None:
    """Let the uvicorn server of this process, which BentoML starts, use these connections."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = partial(Connection, guard)  # type: ignore[assignment] # it may be a class, too


class Connection(HttpToolsProtocol):
    """A connection that closes itself if a request is too long, or comes too slowly; and that answers a half-closed caller."""

    def __init__(
        self,
        guard: Guard,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.ws_protocol_class = None  # nothing here speaks WebSocket
        self._guard = guard
        self._is_in_head = True
        self._size = 0
        self._began: float | None = None
        self._is_refused = False
        self._is_upgrading = False
        self._is_ending = False
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type] # uvicorn narrows it
        self._began = self.loop.time()
        self._later(RECEIVE_SECONDS, self._watch_time)
        is_file = transport.get_extra_info("socket").family == socket.AF_UNIX
        if not is_file:  # by a file, BentoML's own processes speak with one another
            self.app = partial(self._guard, self.app)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, "there are too many connections: ask again later, and keep fewer open")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        self._note(len(data))
        try:
            self._feed(memoryview(data))
        except HttpParserError:
            self._refuse(400, "this is no HTTP/1.1 request")
        if self._size > MAX_HEAD and self._is_in_head:
            self._refuse(431, f"the headers are longer than {MAX_HEAD} bytes: send fewer")
        elif self._size > MAX_MESSAGE:
            self._refuse(413, f"the request is longer than {MAX_MESSAGE} bytes: send fewer instances")

    def _note(self, received: int) -> None:
        """Count these bytes to the request that is being received, which may have just begun."""
        self._size += received
        if self._began is None:
            self._began = self.loop.time()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS or (self._size > MAX_HEAD and self._head_size() > MAX_HEAD):
            self._refuse(431, f"there are more than {MAX_HEADERS} headers, or {MAX_HEAD} bytes of them: send fewer")
            raise ValueError("the headers are too large")  # stops the parser
        self._is_upgrading = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._is_upgrading:
            return
        super().on_headers_complete()
        if self._is_ending:
            self.cycle.keep_alive = False
        self._is_in_head = False
        self._note(0)
        self.headers = deque(maxlen=0)  # type: ignore[assignment] # headers that follow the body are dropped

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_message_complete(self) -> None:
        """The next request may follow in the same packet: it counts from its next one."""
        if self._is_upgrading:
            return
        super().on_message_complete()
        self._is_in_head, self._began, self._size = True, None, 0

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio's type; uvicorn's own never keeps it open
        """The caller closed its side. If it sent a whole request, it gets the answer, in case it still reads.

        The service is told that the caller has gone, because it usually has.
        """
        cycle = self.cycle
        if self._is_refused or self.scheme == "https" or cycle is None or cycle.response_complete or cycle.more_body:
            return None  # closes the connection
        cycle.keep_alive = False
        cycle.message_event.set()
        return True

    def shutdown(self) -> None:
        """The process ends. A caller who has just connected, or whose next request may be on its way, is given a moment. Who is
        still idle then is not waited for, which with TLS would have to confirm that."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and not self._is_ending:
            self._is_ending = True
            self._later(LINGER_SECONDS, self.shutdown)
            return
        super().shutdown()
        if self.transport.is_closing():
            self._later(LINGER_SECONDS, self.transport.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._later(RECEIVE_SECONDS, self.transport.abort)  # if the caller does not read its answer

    def _feed(self, data: memoryview) -> None:
        """Parse what was received. A caller who offers another protocol is answered in this one."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:  # the parser stops there
                data = data[upgrade.args[0] :]
                self._parse_without_offer()

    def _parse_without_offer(self) -> None:
        """Let a new parser read the head again, without the offer of another protocol."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        """There is one thing to be done later, at most, and it is forgotten when the connection is lost."""
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, act)

    def _watch_time(self) -> None:
        now = self.loop.time()
        began = now if self._began is None else self._began
        if now - began >= RECEIVE_SECONDS:
            self._refuse(408, f"the request did not arrive within {RECEIVE_SECONDS:g} seconds: send it faster")
        else:
            self._later(began + RECEIVE_SECONDS - now, self._watch_time)

    def _refuse(self, status: int, reason: str) -> None:
        """Answer instead of the service if the request was not answered yet, and close the connection."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._guard.requests.add(UNREADABLE, str(status), 0.0)
        self._later(LINGER_SECONDS, self.transport.abort)
        if not self._may_answer():
            self.transport.close()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(raw_error(status, reason, request_id_of(None)))
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _may_answer(self) -> bool:
        """Whether the request that is being received is the next one to be answered, and was not answered yet."""
        if self.pipeline:
            return False
        if self._is_in_head:
            return self.cycle is None or self.cycle.response_complete
        return not self.cycle.response_started
