"""Read rows that Feast wrote to a SQLite file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store.row_cache import RowCache
from ratchet.feature_store.stored_rows import HeldRows, StoredView, read_value
from ratchet.storage import sqlite
from ratchet.storage.sql import quoted
from ratchet.use_case.columns import UPCOMING

WAIT = 0.25
"""Seconds for which a read waits for a lock. With a write-ahead log, writers hardly ever lock readers out."""
AT_A_TIME = 60
"""Keys that are read before other work of the process has its turn: a millisecond."""


class SqliteRows:
    """The rows of views in one file. Rows are kept until another process has written to the file, or has replaced it."""

    def __init__(self, path: Path, project: str, views: Sequence[StoredView]) -> None:
        self._path = path
        self._queries = [
            f"SELECT feature_name, value, event_ts FROM {quoted(f'{project}_{view.name}')} WHERE entity_key = ?"
            for view in views
        ]
        self._places = [{name: place for place, name in enumerate((*view.features, UPCOMING))} for view in views]
        self._cache = RowCache()
        self._database: sqlite3.Connection | None = None
        self._file = self._version = (0, 0)

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> Sequence[HeldRows | None]:
        rows: list[HeldRows | None] = []
        for start in range(0, len(wanted), AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            rows += self._read(wanted[start : start + AT_A_TIME])
        return rows

    def close(self) -> None:
        if self._database:
            self._database.close()
        self._database = None

    def _read(self, wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        try:
            database = self._present()
            held = self._cache.rows
            return [held[key] if key in held else self._cache.put(key, self._row(database, *key)) for key in wanted]
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreUnavailableError(
                f"cannot be read ({error})",
                subject=f"online store {self._path}",
                remedy="Run `ratchet stage materialize`",
            ) from error

    def _present(self) -> sqlite3.Connection:
        """The database as it is now, with nothing in the cache that is no longer so."""
        found = os.stat(self._path)  # noqa: PTH116 - a tenth of the time of a request's Path.stat
        file = (found.st_dev, found.st_ino)
        if self._database is None or file != self._file:
            self.close()
            self._database = sqlite.connect(self._path, timeout=WAIT, isolation_level=None)
            self._file, self._version = file, (0, 0)
        version = self._database.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._cache.rows.clear()
            self._version = version
        return self._database

    def _row(self, database: sqlite3.Connection, view: int, key: bytes) -> HeldRows | None:
        places = self._places[view]
        values: list[Any] = [None] * len(places)
        since = None
        for name, value, since in database.execute(self._queries[view], (key,)):  # noqa: B007 - every feature has the same
            if (place := places.get(name)) is not None:
                values[place] = read_value(value)
        return None if since is None else HeldRows(since, values[:-1], values[-1])
