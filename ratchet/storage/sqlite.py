"""SQLite databases by their path, whatever characters it has. Unless asked to, nothing here makes one that is absent.

SQLite itself makes a database when a file is opened that is not there. A reader that did so while the database is away would
hide its loss, and could be in the way of its return.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote


def url(path: Path, *, create: bool = False) -> str:
    """The address for SQLAlchemy; `/` is quoted, too: MLflow takes what is before the last one for a folder, and makes it."""
    return f"sqlite:///{_uri(path, create)}&uri=true"


def path_of(address: str) -> Path | None:
    """The file that a `sqlite:///` address of SQLAlchemy names; None for any other address, and for one with options."""
    path = address.removeprefix("sqlite:///")
    return None if path == address or "?" in path or path in ("", ":memory:") else Path(path).absolute()


def connect(path: Path, *, create: bool = False, **options: object) -> sqlite3.Connection:
    """Raises sqlite3.OperationalError where it cannot be opened. `options` are those of sqlite3.connect."""
    return sqlite3.connect(_uri(path, create), uri=True, **options)  # type: ignore[call-overload, no-any-return]


def _uri(path: Path, create: bool) -> str:
    return f"file:{quote(str(path), safe='')}?mode={'rwc' if create else 'rw'}"
