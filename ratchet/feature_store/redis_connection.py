"""A connection to Redis that reads hashes, and is told when what it has read changes (Redis calls it client tracking).

The library of Redis would take as long for one answer as everything else that a prediction needs. Its parser is used here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis

Replies = Callable[[list[Any]], None]
"""Takes the replies to some commands, in order, before anything that Redis says after them is read."""
Changed = Callable[[Sequence[bytes] | None], None]
"""Takes the names of the hashes that changed since they were read; None: any may have, as when the connection is lost."""


class RedisConnection(asyncio.Protocol):
    """Commands are answered in order, so that many may wait at a time."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._replies = hiredis.Reader()
        self._waiting: deque[tuple[int, Replies, asyncio.Future[None]]] = deque()
        self._got: list[Any] = []
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, address: str, changed: Changed) -> RedisConnection:
        """Connect to `redis://[user:password@]host[:port][/database]`, or `rediss://` with encryption. Raises OSError."""
        parts = urlsplit(address)
        loop, is_encrypted = asyncio.get_running_loop(), parts.scheme == "rediss"
        _, connection = await loop.create_connection(
            lambda: cls(changed), parts.hostname or "127.0.0.1", parts.port or 6379, ssl=is_encrypted or None
        )
        login = [unquote(parts.username or "default"), unquote(parts.password)] if parts.password else []
        greeting = [["HELLO", "3", *(["AUTH", *login] if login else [])], ["SELECT", parts.path.strip("/") or "0"]]
        await connection.send([*greeting, ["CLIENT", "TRACKING", "ON"]], _require_no_error)
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, commands: Sequence[Sequence[str | bytes]], replies: Replies) -> asyncio.Future[None]:
        """Send commands. The future is done when `replies` has taken their replies, and raises what that raises, or OSError if
        the connection is lost."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._transport is None:
            done.set_exception(ConnectionError("the connection is closed"))
            return done
        self._waiting.append((len(commands), replies, done))
        packed: Any = hiredis.pack_command  # its types know only commands of one word
        self._transport.write(b"".join(packed(tuple(command)) for command in commands))
        return done

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop has its methods, and is none by class

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        while (reply := self._replies.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification):
                if reply[0] == b"invalidate":
                    self._changed(reply[1])
            else:
                self._take(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._changed(None)
        while self._waiting:
            _, _, done = self._waiting.popleft()
            if not done.done():
                done.set_exception(ConnectionError(f"the connection was lost ({error or 'closed by Redis'})"))

    def _take(self, reply: Any) -> None:
        self._got.append(reply)
        count, replies, done = self._waiting[0]
        if len(self._got) < count:
            return
        self._waiting.popleft()
        got, self._got = self._got, []
        try:
            replies(got)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(None)


def _require_no_error(replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise ConnectionError(str(reply))
