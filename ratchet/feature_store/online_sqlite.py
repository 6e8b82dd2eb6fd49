"""The online store as a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store.feast_import import feast_module
from ratchet.feature_store.sqlite_rows import SqliteRows
from ratchet.feature_store.stored_rows import StoredView, stored_keys
from ratchet.storage import sqlite
from ratchet.storage.sql import quoted

if TYPE_CHECKING:
    import feast
    import pyarrow as pa


_MARKS = "ratchet_mark"


class SqliteOnlineStore:
    """A SQLite file with a write-ahead log, so that readers are not blocked while `materialize` writes."""

    errors = (sqlite3.Error,)

    def __init__(self, folder: Path, project: str) -> None:
        self.path = folder / "feast_online.db"
        self._project = project
        self.remedy = (
            f"Check that {folder} has room and can be written, and run again; if that goes on, delete {self.path.name}"
        )

    def settings(self) -> dict[str, Any]:
        _count_seconds_in_utc()
        return {"type": "sqlite", "path": str(self.path)}

    def mark(self) -> str | None:
        if not self.path.exists():
            return None
        if self._is_damaged():
            return ""
        with closing(sqlite.connect(self.path)) as database:
            if _MARKS not in _tables(database):
                return ""
            found = database.execute(f"SELECT mark FROM {_MARKS}").fetchone()
        return str(found[0]) if found else ""

    def set_mark(self, mark: str) -> None:
        with closing(sqlite.connect(self.path)) as database, database:
            database.execute(f"CREATE TABLE IF NOT EXISTS {_MARKS} (mark TEXT NOT NULL)")
            database.execute(f"DELETE FROM {_MARKS}")
            database.execute(f"INSERT INTO {_MARKS} VALUES (?)", [mark])

    def create(self) -> None:
        if self._is_damaged():
            for name in ("", "-wal", "-shm"):
                self.path.with_name(f"{self.path.name}{name}").unlink(missing_ok=True)
        with closing(sqlite.connect(self.path, create=True)) as database:
            database.execute("PRAGMA journal_mode=WAL")

    def _is_damaged(self) -> bool:
        """Whether there is a file that SQLite cannot read as a database."""
        try:
            with closing(sqlite.connect(self.path)) as database:
                _tables(database)
        except sqlite3.DatabaseError as error:
            return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        return False

    def clear(self) -> None:
        with closing(sqlite.connect(self.path)) as database, database:
            for table in _tables(database):
                database.execute(f"DELETE FROM {quoted(table)}")

    def delete(self, store: feast.FeatureStore, view: str, keys: pa.Table) -> None:
        from feast.infra.online_stores.helpers import compute_table_id

        table = compute_table_id(store.config.project, store.get_feature_view(view))
        stored = [(key,) for key in stored_keys(keys)]
        with closing(sqlite.connect(self.path)) as database, database:
            database.executemany(f"DELETE FROM {quoted(table)} WHERE entity_key = ?", stored)

    def reader(self, views: Sequence[StoredView]) -> SqliteRows:
        return SqliteRows(self.path, self._project, views)

    def attach(self, store: feast.FeatureStore) -> None:
        if not self.path.exists():
            raise StoreUnavailableError(
                "is not there", subject=f"online store {self.path}", remedy="Run `ratchet stage materialize`"
            )
        store.provider.online_store._conn = sqlite.connect(
            self.path, detect_types=sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES, check_same_thread=False
        )


def _tables(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


@cache
def _count_seconds_in_utc() -> None:
    """Store times as seconds in UTC. Feast makes sqlite3 read them as local times, which moves one hour of each year."""
    feast_module()
    import feast.infra.online_stores.sqlite  # noqa: F401 - its import registers Feast's own converters

    sqlite3.register_adapter(datetime, _to_seconds)
    sqlite3.register_converter("timestamp", _from_seconds)


def _to_seconds(instant: datetime) -> int:
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())


def _from_seconds(stored: bytes) -> datetime:
    return datetime.fromtimestamp(int(stored), UTC).replace(tzinfo=None)
