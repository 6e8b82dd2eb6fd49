"""The requests that a caller sent with a key of its own, so that a repeated request gets the same answer and is logged once.

The log itself holds the answers. An index beside it says where to look, so that nothing has to be searched. It is written
before the log: if the process is killed in between, the entry leads to no rows, and the request was not answered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from ratchet.core.errors import StoreUnavailableError
from ratchet.prediction_log.online_log import OnlineLog, Place
from ratchet.storage import sqlite
from ratchet.storage.date_folders import folder_date

WAIT = 5.0
"""Seconds."""
_TABLE = """
    CREATE TABLE IF NOT EXISTS answered (key TEXT PRIMARY KEY, day TEXT NOT NULL, segment TEXT NOT NULL,
        offset INTEGER NOT NULL, rows INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_day ON answered (day);
"""


@dataclass(frozen=True)
class AnsweredKeys:
    """The keys whose answers are in an online log. It holds nothing in memory, and no key that is older than the log."""

    log: OnlineLog

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While the block runs, no other process answers a request with a key, so that none is answered twice.

        Raises StoreUnavailableError.
        """
        import filelock

        lock = filelock.FileLock(self.log.folder / "answered_keys.lock")
        try:
            self.log.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=WAIT)
        except (filelock.Timeout, OSError) as error:
            raise self._unavailable(error) from error
        try:
            yield
        finally:
            lock.release()

    def find(self, key: str) -> list[dict[str, Any]] | None:
        """The logged rows of the answer to a key, in the order of the instances; None if it was not answered.

        Rows of an answer that a killed process wrote only in part are removed from the log. Raises StoreUnavailableError.
        """
        with self._index() as index:
            entry = index.execute("SELECT day, segment, offset, rows FROM answered WHERE key = ?", (key,)).fetchone()
        if entry is None:
            return None
        day, segment, offset, wanted = entry
        place = Place(date.fromisoformat(day), segment, offset)
        names = request_ids(key, wanted)
        rows = [
            row for row, name in zip(self.log.rows_at(place, wanted), names, strict=False) if row["request_id"] == name
        ]
        if rows and len(rows) < wanted:
            self.log.cut(place)
        return rows if len(rows) == wanted else None

    def announce(self, key: str, place: Place, rows: int) -> None:
        """Say where the answer to a key will be, before it is logged. Raises StoreUnavailableError."""
        entry = (key, place.day.isoformat(), place.segment, place.offset, rows)
        kept = min((str(folder_date(f"{path.name}/")) for path in self.log.folder.glob("date=*")), default="")
        with self._index() as index:
            index.execute("DELETE FROM answered WHERE day < ?", (kept,))
            index.execute("INSERT OR REPLACE INTO answered VALUES (?, ?, ?, ?, ?)", entry)

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite.connect(self.log.folder / "answered_keys.db", create=True)) as index, index:
                index.executescript(_TABLE)
                yield index
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot be used ({error})",
            subject=f"the index of callers' keys in {self.log.folder}",
            remedy="Make room or grant access there, or send the request without a key",
        )


def request_ids(key: str, rows: int) -> list[str]:
    """The ids in the log of the instances of a request with a key, which contains no slash."""
    return [f"{key}/{row}" for row in range(rows)]
