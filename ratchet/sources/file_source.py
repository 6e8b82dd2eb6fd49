"""A ready-made source of files: one file, a folder, or a pattern of files below a folder. Each file is a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ratchet.core.clock import Period
from ratchet.core.errors import SourceError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import PARAMS_FILE, parse
from ratchet.sources.declared_table import DeclaredTable
from ratchet.sources.file_kinds import CSV, EVERY_KIND, KINDS, file_batch, kind_of
from ratchet.storage.digests import md5
from ratchet.storage.file_patterns import Place, entries
from ratchet.use_case.batch import Batch, Loader, Unread

MOST_BYTES = 180
"""The longest name of a batch: files named after it need some more bytes of the 255 that a file's name can have."""

_MOST_SHOWN = 9
"""How many files that are not read an error names."""


class FileOptions(Frozen):
    """A source of files has no options: everything that it needs stands in the use case."""


@dataclass(frozen=True)
class FileSource:
    """A loader: call it with (path, options, period)."""

    declared: DeclaredTable

    def __call__(self, path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch | Unread]:
        parse(FileOptions, options, f"{PARAMS_FILE}, source.options")
        files, unread = _files(Path(path))
        batches = (file_batch(self.declared, name, file, md5(file), period) for name, file in files.items())
        return [*batches, *(Unread(name, reason) for name, reason in unread.items())]


def file_source(
    table: str,
    schema: pa.Schema,
    *,
    timezone: str,
    known_after: tuple[str, timedelta] | None = None,
    scattered_by: str | None = None,
    renamed: Mapping[str, str] | None = None,
    optional: Sequence[str] = (),
) -> Loader:
    """A loader of `table` from files: CSV, CSV packed by gzip, or Parquet. The arguments are those of `DeclaredTable`.

    `source.path` is a file, a folder, or a pattern such as `in/2024-*/trips_*.csv.gz` or `in/**/*.parquet`. A file's kind
    follows from the end of its name, in upper or lower case. A batch is named after its path below the folder, or below the
    part of the path that is no pattern: `2024-01/trips_1.csv.gz` is the batch `2024-01__trips_1`. Ingest's report names
    everything else in the folders that the pattern leads through, and files without rows. Raises SettingsError.
    """
    declared = DeclaredTable(table, schema, timezone, known_after, scattered_by, renamed or {}, optional)
    return FileSource(declared)


def _files(path: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Batch → its file, and everything else at the path with the reason. Raises SourceError if there is no file with rows."""
    place = Place.of(path)
    if place.fixed.is_file() and not place.pattern:
        return {_stem(place.fixed.name): place.fixed}, {}
    if not place.fixed.is_dir():
        raise _nothing(path, "is not there")
    found = place if place.pattern else Place(place.fixed, ("*",))
    files: dict[str, Path] = {}
    unread: dict[str, str] = {}
    for file, unmatched in _listed(found):
        below = file.relative_to(place.fixed)
        name = "__".join([*below.parent.parts, _stem(below.name)])
        if reason := unmatched or _why_unread(file, name):
            unread[_shown(below)] = reason
        elif name in files:
            raise _both(place.fixed, files[name], file, name)
        else:
            files[name] = file
    if not files:
        others = [f"{other} {reason}" for other, reason in islice(unread.items(), _MOST_SHOWN)]
        more = [f"and {len(unread) - len(others)} more"] if len(unread) > len(others) else []
        raise _nothing(path, "; ".join([f"holds no {EVERY_KIND} file", *others, *more]))
    return files, unread


def _listed(place: Place) -> list[tuple[Path, str]]:
    try:
        return list(entries(place))
    except OSError as error:
        raise SourceError(
            f"cannot be listed ({error})",
            subject=str(place.fixed),
            remedy="Fix the folder's permissions, and run again",
        ) from error


def _why_unread(file: Path, batch: str) -> str | None:
    """Why a path that was found is not read; None if it is."""
    if not file.is_file():
        return "is a folder" if file.is_dir() else "is no file"
    if not kind_of(file.name):
        return f"has a name that does not end in {EVERY_KIND}"
    if not batch.isprintable() or "\\" in batch:
        return "must be renamed: its name has a character that a batch cannot have"
    if len(batch.encode()) > MOST_BYTES:
        return f"must be renamed: the batch's name would have more than {MOST_BYTES} bytes"
    return None if KINDS[kind_of(file.name).lower()].holds_rows(file) else "holds no row"


def _stem(name: str) -> str:
    end = kind_of(name)
    return name.removesuffix(end) if end else Path(name).stem


def _shown(path: Path) -> str:
    """A path's text, with bytes that are not UTF-8 as escapes such as `\\xff`."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _nothing(path: Path, problem: str) -> SourceError:
    return SourceError(
        problem,
        subject=str(path),
        remedy=f"Deliver a {CSV} or Parquet file, or set source.path in {PARAMS_FILE} to where there are some",
    )


def _both(folder: Path, first: Path, other: Path, name: str) -> SourceError:
    shown = " and ".join(_shown(path.relative_to(folder)) for path in (first, other))
    return SourceError(
        f"{shown} would both be the batch {name!r}", subject=str(folder), remedy="Rename one of them, or remove it"
    )
