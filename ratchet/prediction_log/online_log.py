"""The online half of the prediction log: lines of JSON. Each serving process appends to a file of its own, a segment."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from ratchet.core.errors import StoreUnavailableError


class OnlineLog:
    """The segment of this process. Lines are written to the file before a prediction is answered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment = uuid.uuid4().hex

    def append(self, rows: pa.Table, day: date) -> None:
        """Write all rows, predictions of the UTC date `day`, in one call. Raises StoreError; then no row counts as logged."""
        path = self._folder / f"date={day.isoformat()}" / f"{self._segment}.jsonl"
        try:
            _append(path, b"".join(line_of(row) for row in rows.to_pylist()))
        except OSError as error:
            self._segment = uuid.uuid4().hex  # a torn line must stay the last one of its segment
            raise StoreUnavailableError(
                f"the prediction could not be logged ({error.strerror})",
                subject=str(path),
                remedy="Make room or grant access there; nothing is answered without being logged",
            ) from error


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(0, "written in part")
    finally:
        os.close(descriptor)


def line_of(row: dict[str, Any]) -> bytes:
    """A row as a line of JSON, with instants as ISO text."""
    return json.dumps(row, default=datetime.isoformat, allow_nan=False).encode() + b"\n"


def segments(folder: Path, dates: Iterable[date]) -> Iterator[Path]:
    """The segments of these UTC dates, in order."""
    for day in dates:
        yield from sorted((folder / f"date={day.isoformat()}").glob("*.jsonl"))


def whole_lines(path: Path) -> bytes:
    """The content of a segment, without an incomplete last line that a killed process left."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]
