"""Read rows that Feast wrote to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from struct import pack
from typing import Any

import hiredis
import mmh3

from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store.redis_connection import RedisConnection
from ratchet.feature_store.row_cache import RowCache
from ratchet.feature_store.stored_rows import HeldRows, StoredView, read_seconds, read_value
from ratchet.use_case.columns import UPCOMING

CONNECT_SECONDS, ANSWER_SECONDS = 1.0, 0.1
"""How long a connection and an answer may take."""
_Key = tuple[int, bytes]
"""The place of a view, and a key as Feast stores it."""


class RedisRows:
    """The rows of views in one Redis. Rows are kept until Redis says that they changed, or until the connection is lost.

    Feast keeps the rows of all views with the same keys in one hash, whose name is the key and the project.
    """

    def __init__(self, address: str, shown: str, project: str, views: Sequence[StoredView]) -> None:
        """`shown` is the address without a password, for errors."""
        self._address, self._shown, self._project = address, shown, project.encode()
        self._fields = [fields_of(view.name, (*view.features, UPCOMING)) for view in views]
        self._cache = RowCache()
        self._connection: RedisConnection | None = None
        self._connecting = asyncio.Lock()

    async def read(self, wanted: Sequence[_Key]) -> Sequence[HeldRows | None]:
        held = self._cache.rows
        known = {key: held[key] for key in wanted if key in held}
        absent = [key for key in wanted if key not in known]
        found = {**known, **(await self._read(absent) if absent else {})}
        return [found[key] for key in wanted]

    def close(self) -> None:
        if self._connection:
            self._connection.close()

    async def _read(self, keys: Sequence[_Key]) -> dict[_Key, HeldRows | None]:
        """The rows of keys, from Redis. They are kept before Redis can say that they have changed."""
        found: dict[_Key, HeldRows | None] = {}

        def take(replies: list[Any]) -> None:
            for key, reply in zip(keys, replies, strict=True):
                if isinstance(reply, hiredis.ReplyError):
                    raise ConnectionError(str(reply))
                found[key] = self._cache.put(key, _rows(reply))

        commands: list[list[str | bytes]] = [["HMGET", key + self._project, *self._fields[view]] for view, key in keys]
        try:
            connection = await self._connected()
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.send(commands, take)
        except (OSError, TimeoutError) as error:
            self.close()
            raise StoreUnavailableError(
                f"cannot be read ({str(error) or 'no answer'})",
                subject=f"online store {self._shown}",
                remedy="Start Redis, or correct RATCHET_REDIS",
            ) from error
        return found

    async def _connected(self) -> RedisConnection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._connection = await RedisConnection.open(self._address, self._forget)
            return self._connection

    def _forget(self, hashes: Sequence[bytes] | None) -> None:
        if hashes is None:
            self._cache.rows.clear()
            return
        for name in hashes:
            key = name[: -len(self._project)]
            for view in range(len(self._fields)):
                self._cache.rows.pop((view, key), None)


def fields_of(view: str, features: Iterable[str]) -> list[bytes]:
    """The fields of a hash with these features of a view, and last its event timestamp, as Feast names them."""
    hashes = [mmh3.hash(f"{view}:{feature}", signed=False) for feature in features]
    return [*(pack("<I", each) for each in hashes), f"_ts:{view}".encode()]


def _rows(reply: Sequence[bytes | None]) -> HeldRows | None:
    *values, upcoming, since = reply
    if since is None:
        return None
    text = read_value(upcoming)
    return HeldRows(read_seconds(since), [*map(read_value, values)], text if isinstance(text, str) else None)
