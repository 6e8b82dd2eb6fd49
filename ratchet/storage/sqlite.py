"""SQLite databases by path, which may contain any character. An absent database is created only on request.

SQLite itself creates a database when it opens a path that does not exist. A reader that did so while the database is away would
hide its loss, and the empty file could be in the way when the database is put back.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote


def url(path: Path, *, create: bool = False) -> str:
    """The address for SQLAlchemy. `/` is quoted, too: MLflow would create a folder for the part before the last one."""
    return f"sqlite:///{_uri(path, create)}&uri=true"


def path_of(address: str) -> Path | None:
    """The file that a `sqlite:///` address of SQLAlchemy names; None for any other address, or one with options."""
    path = address.removeprefix("sqlite:///")
    return None if path == address or "?" in path or path in ("", ":memory:") else Path(path).absolute()


def connect(path: Path, *, create: bool = False, **options: object) -> sqlite3.Connection:
    """Open a database. `options` are those of sqlite3.connect. Raises sqlite3.OperationalError if it cannot be opened."""
    return sqlite3.connect(_uri(path, create), uri=True, **options)  # type: ignore[call-overload, no-any-return]


def _uri(path: Path, create: bool) -> str:
    return f"file:{quote(str(path), safe='')}?mode={'rwc' if create else 'rw'}"
