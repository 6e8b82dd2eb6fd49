"""The online half of the prediction log: lines of JSON, appended by each serving process to a segment of its own."""

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
    """This process's segment of the log. Lines are on their way to disk before a prediction is answered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment = uuid.uuid4().hex

    def append(self, rows: pa.Table, day: date) -> None:
        """Write all rows, predictions of one UTC date, by one call. Raises StoreError, and then vouches for none."""
        path = self._folder / f"date={day.isoformat()}" / f"{self._segment}.jsonl"
        try:
            _append(path, b"".join(line_of(row) for row in rows.to_pylist()))
        except OSError as error:
            self._segment = uuid.uuid4().hex  # what is torn stays the end of its segment
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
    """A row as text, instants as ISO text."""
    return json.dumps(row, default=datetime.isoformat, allow_nan=False).encode() + b"\n"


def segments(folder: Path, dates: Iterable[date]) -> Iterator[Path]:
    """The files of some UTC dates."""
    for day in dates:
        yield from sorted((folder / f"date={day.isoformat()}").glob("*.jsonl"))


def whole_lines(path: Path) -> bytes:
    """A segment without the line that its process was killed in."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]
