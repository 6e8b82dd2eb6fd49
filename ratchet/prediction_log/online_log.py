"""The online half of the prediction log: lines of JSON. Each serving process appends to a file of its own, a segment.

Beside it lie the marks of the same process: which answers never reached their callers, and which of these were delivered later,
when the caller repeated the request. An answer that was delivered once counts as delivered.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from ratchet.core.errors import StoreError, StoreUnavailableError
from ratchet.storage.date_folders import date_folder

UNDELIVERED, DELIVERED = "undelivered", "delivered"


@dataclass(frozen=True)
class Place:
    """Where rows begin in the log: a UTC date, a segment of it, and a position in bytes."""

    day: date
    segment: str
    offset: int


class OnlineLog:
    """The segment of this process. Lines are written to the file before a prediction is answered.

    One thread writes. The file of a day stays open, because opening it takes longer than a line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._segment = uuid.uuid4().hex
        self._marks = uuid.uuid4().hex
        self._open: tuple[Path, int, os.stat_result] | None = None
        self._path: tuple[date, Path] | None = None

    def append(self, lines: bytes, day: date) -> None:
        """Write whole lines, predictions of the UTC date `day`, in one call. Raises StoreError; then none counts as logged."""
        if self._path is None or self._path[0] != day:
            self._path = (day, _segment(self.folder, day, self._segment))
        path = self._path[1]
        try:
            _write(self._descriptor(path), lines)
        except OSError as error:
            self.close()
            if not _is_whole_or_removed(path):
                self._segment, self._path = uuid.uuid4().hex, None  # a torn line must stay the last one of its segment
            raise _unwritable(path, error) from error

    def close(self) -> None:
        if self._open:
            os.close(self._open[1])
        self._open = None

    def _descriptor(self, path: Path) -> int:
        """The open file of a path, opened again if it is another day's, or if somebody moved or removed it."""
        if self._open and not (self._open[0] == path and _is_there(path, self._open[2])):
            self.close()
        if not self._open:
            descriptor = _opened(path)
            self._open = (path, descriptor, os.fstat(descriptor))
        return self._open[1]

    def mark_undelivered(self, prediction_ids: Sequence[str]) -> None:
        """Mark the predictions of one answer, which its caller never got. Raises StoreError."""
        self._mark(UNDELIVERED, prediction_ids)

    def mark_delivered(self, prediction_ids: Sequence[str]) -> None:
        """Mark the predictions of one answer that was given again, and now reached its caller. Raises StoreError."""
        if not {*prediction_ids} <= _marked(self.folder, date_of(prediction_ids[0]), DELIVERED):
            self._mark(DELIVERED, prediction_ids)

    def next_place(self, day: date) -> Place:
        """Where the next rows of `day` will begin."""
        path = _segment(self.folder, day, self._segment)
        return Place(day, self._segment, path.stat().st_size if path.exists() else 0)

    def rows_at(self, place: Place, most: int) -> list[dict[str, Any]]:
        """Up to `most` rows from a place on, of any process. An incomplete last line is left out."""
        path = _segment(self.folder, place.day, place.segment)
        if not path.exists():
            return []
        with path.open("rb") as lines:
            lines.seek(place.offset)
            return [parsed(path, line) for line in takewhile(_is_whole, islice(lines, most))]

    def cut(self, place: Place) -> None:
        """Remove what a killed process wrote from a place on, before it could answer."""
        os.truncate(_segment(self.folder, place.day, place.segment), place.offset)

    def _mark(self, kind: str, prediction_ids: Sequence[str]) -> None:
        path = _day(self.folder, date_of(prediction_ids[0])) / f"{self._marks}.marks"
        try:
            write_once(path, line_of({"mark": kind, "prediction_ids": [*prediction_ids]}))
        except OSError as error:
            self._marks = uuid.uuid4().hex
            raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"the prediction could not be logged ({error.strerror})",
        subject=str(path),
        remedy="Make room or grant access there; nothing is answered without being logged",
    )


def _is_there(path: Path, opened: os.stat_result) -> bool:
    """Whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.stat(path), opened)  # noqa: PTH116 - half the time of Path.stat, for each answer
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_whole_or_removed(path: Path) -> bool:
    """Whether a segment, in which a write failed, ends with a whole line. One that is empty is removed."""
    try:
        if not path.stat().st_size:
            path.unlink()
            return True
        with path.open("rb") as segment:
            segment.seek(-1, os.SEEK_END)
            return segment.read() == b"\n"
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def write_once(path: Path, data: bytes) -> None:
    """Append to a file that is opened for it, wholly or not at all. Raises OSError."""
    descriptor = _opened(path)
    try:
        _write(descriptor, data)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    if written != len(data):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise OSError(0, "written in part")


def line_of(row: dict[str, Any]) -> bytes:
    """A row as a line of JSON, with instants as ISO text."""
    return json.dumps(row, default=datetime.isoformat, allow_nan=False).encode() + b"\n"


def parsed(path: Path, line: bytes) -> dict[str, Any]:
    """A line as a row. Raises StoreError if it is damaged."""
    try:
        return dict(json.loads(line))
    except ValueError as error:
        raise unreadable(path, error, "Fix or remove the line") from error


def unreadable(path: Path | str, error: Exception, remedy: str) -> StoreError:
    return StoreError(f"cannot be read as a prediction log ({error})", subject=str(path), remedy=remedy)


def date_of(prediction_id: str) -> date:
    """The UTC date with which the id of a prediction begins. Raises ValueError."""
    return date.fromisoformat(prediction_id[:10])


def segments(folder: Path, dates: Iterable[date]) -> Iterator[Path]:
    """The segments of these UTC dates, in order."""
    for day in dates:
        yield from sorted(_day(folder, day).glob("*.jsonl"))


def undelivered(folder: Path, dates: Iterable[date]) -> set[str]:
    """The ids of these dates' predictions that never reached their callers."""
    return {name for day in dates for name in _marked(folder, day, UNDELIVERED) - _marked(folder, day, DELIVERED)}


def _marked(folder: Path, day: date, kind: str) -> set[str]:
    marks = [
        parsed(path, line) for path in _day(folder, day).glob("*.marks") for line in whole_lines(path).splitlines()
    ]
    return {name for mark in marks if mark["mark"] == kind for name in mark["prediction_ids"]}


def whole_lines(path: Path) -> bytes:
    """The content of a segment, without an incomplete last line that a killed process left."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n")


def _day(folder: Path, day: date) -> Path:
    return folder / date_folder(day)


def _segment(folder: Path, day: date, segment: str) -> Path:
    return _day(folder, day) / f"{segment}.jsonl"
