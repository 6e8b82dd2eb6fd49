"""A ready-made source: a CSV file, or a folder of CSV files. Each file is a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError, SourceError
from ratchet.core.settings import PARAMS_FILE, Frozen, parse
from ratchet.sources.csv_lines import count_rows, holds_rows
from ratchet.sources.csv_parsing import read_columns
from ratchet.storage.digests import digest, md5
from ratchet.use_case.contract import INSTANT, Batch, Loader, Unread

AS_OF, KNOWN_AT = "as_of", "known_at"
"""The columns that `scattered_by` and `known_after` add."""
AT_ONCE = timedelta(seconds=1)
"""The delay of a label without a known delay: a label must be known later than its request."""


class CsvOptions(Frozen):
    """A CSV source has no options: everything that it needs stands in the use case."""


@dataclass(frozen=True)
class CsvSource:
    """A loader: call it with (path, options, period)."""

    table: str
    schema: pa.Schema
    timezone: str
    known_after: tuple[str, timedelta] | None = None
    scattered_by: str | None = None

    def __post_init__(self) -> None:
        source = self.known_after[0] if self.known_after else None
        missing = [
            name for name in (*self.derived, self.scattered_by, source) if name and name not in self.schema.names
        ]
        if missing:
            raise SettingsError(
                f"the schema lacks {', '.join(missing)}",
                subject=f"csv source of {self.table}",
                remedy="Add it to the schema that csv_source is given",
            )

    @property
    def derived(self) -> tuple[str, ...]:
        """The columns of the schema that are not in the file."""
        if self.scattered_by:
            return AS_OF, KNOWN_AT
        return (KNOWN_AT,) if self.known_after else ()

    def __call__(self, path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch | Unread]:
        parse(CsvOptions, options, f"{PARAMS_FILE}, source.options")
        files, unread = _files(Path(path))
        return [*(self._batch(file, period) for file in files), *unread]

    def _batch(self, file: Path, period: Period) -> Batch:
        read, count = partial(self.read, file, period), partial(count_rows, file)
        return Batch(self.table, file.stem, self._digest(file, period), read, count, [file])

    def read(self, file: Path, period: Period) -> tuple[pa.Table, list[str]]:
        """A file in the declared schema with its unreadable values, and notes. Raises SourceError."""
        delivered = pa.schema([field for field in self.schema if field.name not in self.derived])
        table, notes = read_columns(file, delivered, self.timezone)
        if self.scattered_by:
            table = table.append_column(AS_OF, _scattered(table[self.scattered_by], period))
        if self.derived:
            column, delay = self.known_after or (AS_OF, AT_ONCE)
            table = table.append_column(KNOWN_AT, pc.add(table[column], pa.scalar(delay, pa.duration("us"))))
        others = [name for name in table.column_names if name not in self.schema.names]
        return table.select([*self.schema.names, *others]), notes

    def _digest(self, file: Path, period: Period) -> str:
        asked = [self.schema.to_string(), self.timezone, self.known_after, self.scattered_by]
        return digest(asked, str(period) if self.scattered_by else "", file.stem, md5(file))


def csv_source(
    table: str,
    schema: pa.Schema,
    *,
    timezone: str,
    known_after: tuple[str, timedelta] | None = None,
    scattered_by: str | None = None,
) -> Loader:
    """A loader of `table` from a CSV file or a folder of CSV files, with int64, float64, bool, string and INSTANT columns.

    In a folder, every visible file whose name ends in .csv (in upper or lower case) is a batch named after its stem. Ingest's
    report names everything else there, and files without rows. A column of the schema is the one whose header has that
    `identifier`. `known_after` (column, delay) adds the instant KNOWN_AT, which is the column plus the delay. `scattered_by`
    adds two instants to rows without any time, for a use case with `split="entity"`: AS_OF, a time in the period that only
    depends on a hash of that column, and KNOWN_AT, one second later. Raises SettingsError if the schema lacks one of these.
    """
    return CsvSource(table, schema, timezone, known_after, scattered_by)


def _files(path: Path) -> tuple[list[Path], list[Unread]]:
    """The CSV files at a path, in order, and everything else there. Raises SourceError if there is no CSV file with rows."""
    if path.is_dir():
        unread = {file: reason for file in path.iterdir() if (reason := _why_unread(file))}
        files = sorted(file for file in path.iterdir() if file not in unread)
    else:
        unread, files = {}, [path] if path.is_file() else []
    if not files:
        others = "".join(f"; {_shown(file)} {reason}" for file, reason in sorted(unread.items()))
        raise SourceError(
            f"holds no .csv file{others}" if path.is_dir() else "is not there",
            subject=str(path),
            remedy=f"Deliver a CSV file, or set source.path in {PARAMS_FILE} to a file or to a folder of them",
        )
    _check_names(files)
    return files, [Unread(_shown(file), reason) for file, reason in sorted(unread.items())]


def _why_unread(file: Path) -> str | None:
    """Why a path in a folder of CSV files is not read; None if it is."""
    if file.name.startswith("."):
        return "is hidden"
    if not file.is_file():
        return "is a folder" if file.is_dir() else "is no file"
    if file.suffix.lower() != ".csv":
        return "has a name that does not end in .csv"
    if not file.name.isprintable() or "\\" in file.name:
        return "must be renamed: its name has a character that a batch cannot have"
    return None if holds_rows(file) else "holds no row"


def _shown(file: Path) -> str:
    """A file's name, with bytes that are not UTF-8 as escapes such as `\\xff`."""
    return file.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _check_names(files: Iterable[Path]) -> None:
    """Raises SourceError for two files with the same stem: the stem is the name of the batch."""
    first: dict[str, Path] = {}
    for file in files:
        other = first.setdefault(file.stem, file)
        if other is not file:
            raise SourceError(
                f"{other.name} and {file.name} would both be the batch {file.stem!r}",
                subject=str(file.parent),
                remedy="Rename one of them, or remove it",
            )


def _scattered(keys: pa.ChunkedArray, period: Period) -> pa.Array:
    """A second of the period for each key, which depends on nothing but the key; null without a key."""
    seconds = int((period.end - period.start).total_seconds())
    start = np.datetime64(period.start.replace(tzinfo=None), "us")
    timestamps: dict[object, Any] = {None: np.datetime64("NaT", "us")}
    timestamps |= {
        key: start + np.timedelta64(_hash(key) % seconds, "s") for key in keys.unique().to_pylist() if key is not None
    }
    return pa.array(np.array([timestamps[key] for key in keys.to_pylist()], "datetime64[us]")).cast(INSTANT)


def _hash(key: object) -> int:
    return int.from_bytes(hashlib.sha256(str(key).encode()).digest()[:8], "big")
