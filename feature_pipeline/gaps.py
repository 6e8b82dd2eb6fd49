"""The batches of a source that are missing although later ones are there, as ingest leaves them for featurize."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from ratchet.core.clock import Period
from ratchet.storage.files import read_json, remove_leftovers, write_json
from ratchet.use_case.batch import Gap


def write_gaps(path: Path, gaps: Iterable[Gap]) -> None:
    """Write them in the order of their tables and periods."""
    ordered = sorted(gaps, key=lambda gap: (gap.table, gap.period.start, gap.name))
    remove_leftovers(path)
    write_json(
        path,
        [
            {
                "table": gap.table,
                "name": gap.name,
                "start": gap.period.start.isoformat(),
                "end": gap.period.end.isoformat(),
            }
            for gap in ordered
        ],
    )


def read_gaps(path: Path) -> list[Gap]:
    """Those that were written last; none if ingest has not run."""
    found = read_json(path) if path.exists() else []
    return [Gap(each["table"], each["name"], _period(each["start"], each["end"])) for each in found]


def _period(start: str, end: str) -> Period:
    return Period(datetime.fromisoformat(start), datetime.fromisoformat(end))
