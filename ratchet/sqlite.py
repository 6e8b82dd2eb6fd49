"""SQLite databases by their path, whatever characters it has. Unless asked to, nothing here makes one that is absent.

SQLite itself makes a database when a file is opened that is not there. A reader that did so while the database is away would
hide its loss, and could be in the way of its return.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote


def url(path: Path, *, create: bool = False) -> str:
    """The address for SQLAlchemy.

    The `/` in the path are quoted too: MLflow takes what it finds before the last one for a folder, and makes it. An absolute
    path of an existing file comes with the number of the file, which SQLite does not look at: MLflow keeps its connections by
    address, and would go on with the old file when another one has taken its place.
    """
    known = f"&file={path.stat().st_ino}" if path.is_absolute() and path.exists() else ""
    return f"sqlite:///{_uri(path, create)}{known}&uri=true"


def connect(path: Path, *, create: bool = False, **options: object) -> sqlite3.Connection:
    """Raises sqlite3.OperationalError where it cannot be opened. `options` are those of sqlite3.connect."""
    return sqlite3.connect(_uri(path, create), uri=True, **options)  # type: ignore[call-overload, no-any-return]


def _uri(path: Path, create: bool) -> str:
    return f"file:{quote(str(path), safe='')}?mode={'rwc' if create else 'rw'}"
