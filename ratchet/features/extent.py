"""The extent of the offline store: the period of which it holds all features, requests and labels."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ratchet.core.clock import Period
from ratchet.storage.files import read_json, remove_leftovers, write_json

_FILE = "as_of.json"


def write_extent(folder: Path, period: Period) -> None:
    """Write it after everything else. `folder` is that of the offline store."""
    remove_leftovers(folder / _FILE)
    write_json(folder / _FILE, {"from": period.start.isoformat(), "as_of": period.end.isoformat()})


def read_extent(folder: Path) -> Period | None:
    """None if nothing was computed yet."""
    path = folder / _FILE
    found = read_json(path) if path.exists() else None
    return Period(datetime.fromisoformat(found["from"]), datetime.fromisoformat(found["as_of"])) if found else None
