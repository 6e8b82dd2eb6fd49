"""The kinds of files that ready-made sources read, by the ends of their names."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.core.clock import Period
from ratchet.core.errors import SourceError
from ratchet.sources import csv_lines
from ratchet.sources.csv_parsing import read_rows
from ratchet.sources.declared_table import DeclaredTable, Delivered
from ratchet.sources.headers import Kind
from ratchet.use_case.batch import Batch

Choose = Callable[[Sequence[str]], Mapping[str, int]]
"""Headers → the index of the header of each column that is read."""


@dataclass(frozen=True)
class FileKind:
    """How files of a kind are read, and how their rows are counted without reading them. These two raise SourceError.

    `holds_rows` looks at no more of a file than it must, and is true for a file that cannot be read.
    """

    read: Callable[[Path, Choose], Delivered]
    count: Callable[[Path], int]
    holds_rows: Callable[[Path], bool]


def kind_of(name: str) -> str:
    """The end of a file's name that says its kind, as it is written there; "" if no kind has it."""
    return next((name[-len(end) :] for end in KINDS if name.lower().endswith(end)), "")


def file_batch(declared: DeclaredTable, name: str, path: Path, content: str, period: Period) -> Batch:
    """A file as a batch. `content` is a digest of the file. A file of no known kind is read as CSV."""
    kind = KINDS[kind_of(path.name).lower() or CSV]

    def read() -> tuple[pa.Table, list[str]]:
        delivered = kind.read(path, partial(declared.headers.places, subject=str(path)))
        return declared.conform(delivered, period), declared.notes(delivered.headers, delivered.kinds)

    return Batch(declared.table, name, declared.digest(name, content, period), read, partial(kind.count, path), [path])


def _read_csv(path: Path, choose: Choose) -> Delivered:
    text = read_rows(path)
    headers = text.rows.column_names
    places = choose(headers)
    others = {*range(len(headers))} - {*places.values()}
    kinds = {place: Kind.of_text(text.rows.column(place)) for place in others}
    return Delivered({name: text.rows.column(place) for name, place in places.items()}, headers, kinds, text.broken)


def _csv_holds_rows(path: Path) -> bool:
    with path.open("rb") as file:
        return csv_lines.holds_rows(file)


def _read_gzip(path: Path, choose: Choose) -> Delivered:
    with _unpacked(path) as plain:
        return _read_csv(plain, choose)


def _count_gzip(path: Path) -> int:
    with _unpacked(path) as plain:
        return csv_lines.count_rows(plain)


def _gzip_holds_rows(path: Path) -> bool:
    if not path.stat().st_size:
        return False
    try:
        with gzip.open(path) as file:
            return csv_lines.holds_rows(file)
    except (OSError, EOFError, zlib.error):
        return True


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """A temporary file with the unpacked content. Errors of the block are about `path`. Raises SourceError."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "unpacked.csv"
        try:
            with gzip.open(path) as packed, plain.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(
                f"cannot be unpacked ({error})", subject=str(path), remedy="Deliver it again, whole, packed by gzip"
            ) from error
        with errors_about(str(path)):
            yield plain


@contextmanager
def errors_about(subject: str) -> Iterator[None]:
    """Names `subject` in each SourceError of the block, in place of a file that only stands for it."""
    try:
        yield
    except SourceError as error:
        raise SourceError(error.problem, subject=subject, remedy=error.remedy) from error


def _read_parquet(path: Path, choose: Choose) -> Delivered:
    if not _parquet_holds_rows(path):
        raise SourceError("holds no row", subject=str(path), remedy="Deliver it whole, or remove it")
    with _whole(path), pq.ParquetFile(path) as file:
        headers = file.schema_arrow.names
        places = choose(headers)
        rows = file.read(columns=[headers[place] for place in places.values()])
        kinds = {place: Kind.of(each.type) for place, each in enumerate(file.schema_arrow)}
        return Delivered({name: rows[headers[place]] for name, place in places.items()}, headers, kinds)


def _count_parquet(path: Path) -> int:
    with _whole(path):
        return int(pq.read_metadata(path).num_rows)


def _parquet_holds_rows(path: Path) -> bool:
    try:
        return path.stat().st_size > 0 and pq.read_metadata(path).num_rows > 0
    except (pa.ArrowException, OSError):
        return True


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turns the errors of a block that reads a Parquet file into SourceError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"cannot be read as Parquet ({' '.join(str(error).split())})",
            subject=str(path),
            remedy="Deliver it again, whole",
        ) from error


CSV, GZIPPED_CSV, PARQUET = ".csv", ".csv.gz", ".parquet"
KINDS = {
    CSV: FileKind(_read_csv, csv_lines.count_rows, _csv_holds_rows),
    GZIPPED_CSV: FileKind(_read_gzip, _count_gzip, _gzip_holds_rows),
    PARQUET: FileKind(_read_parquet, _count_parquet, _parquet_holds_rows),
}
"""The end of a file's name, in lower case → its kind."""
EVERY_KIND = f"{CSV}, {GZIPPED_CSV} or {PARQUET}"
