"""How far the offline store goes: the instant up to which features, requests and labels were computed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ratchet.storage.files import read_json, remove_leftovers, write_json

_FILE = "as_of.json"


def write_extent(folder: Path, instant: datetime) -> None:
    """Write it after everything else. `folder` is that of the offline store."""
    remove_leftovers(folder / _FILE)
    write_json(folder / _FILE, instant.isoformat())


def read_extent(folder: Path) -> datetime | None:
    """None if nothing was computed yet."""
    path = folder / _FILE
    return datetime.fromisoformat(read_json(path)) if path.exists() else None
