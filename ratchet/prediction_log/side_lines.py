"""Lines about predictions, beside the online half of the log: each under the date of its prediction, to be dropped with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

from ratchet.core.errors import StoreUnavailableError
from ratchet.prediction_log.online_log import date_of, line_of, parsed, whole_lines, write_once
from ratchet.storage.date_folders import date_folder

Row = dict[str, Any]


def append(folder: Path, name: str, rows: Iterable[Row]) -> None:
    """Append rows with a `prediction_id` to the file `name` of each date.

    Raises StoreUnavailableError; then those of a date are written as a whole, or not at all.
    """
    for day, of_day in groupby(sorted(rows, key=_day), key=_day):
        path = folder / date_folder(day) / name
        try:
            write_once(path, b"".join(map(line_of, of_day)))
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot be written ({error.strerror})",
                subject=str(path),
                remedy="Make room or grant access there, and send it again",
            ) from error


def read(folder: Path, suffix: str, dates: Iterable[date]) -> Iterator[Row]:
    """The rows of all files with this suffix, of these UTC dates."""
    for path in files(folder, suffix, dates):
        yield from (parsed(path, line) for line in whole_lines(path).splitlines())


def files(folder: Path, suffix: str, dates: Iterable[date]) -> Iterator[Path]:
    """All files with this suffix, of these UTC dates, in order."""
    for day in dates:
        yield from sorted((folder / date_folder(day)).glob(f"*{suffix}"))


def _day(row: Row) -> date:
    return date_of(row["prediction_id"])
