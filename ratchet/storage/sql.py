"""Parts of SQL text, quoted as SQL needs it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def timestamptz(instant: datetime) -> str:
    """An instant as a literal of DuckDB's SQL."""
    return f"TIMESTAMPTZ '{instant.isoformat()}'"


def names(columns: Sequence[str]) -> str:
    """Column names, quoted and separated by commas."""
    return ", ".join(quoted(name) for name in columns)


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier; it may contain any character."""
    return '"' + name.replace('"', '""') + '"'
