"""What a CSV file says by itself: the kind of each column, and which columns could be key, time, entity or label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from authoring.init.answers import UnansweredError
from ratchet.core.clock import END, FIRST
from ratchet.core.errors import SourceError
from ratchet.core.text import did_you_mean
from ratchet.sources.csv_parsing import first_misfit, identifier, parse, parses, present
from ratchet.sources.unreadable import impossible, lost
from ratchet.storage.arrow import to_columns
from ratchet.use_case.contract import INSTANT

ColumnKind = Literal["whole", "number", "boolean", "time", "text", "empty"]
TYPES = {
    "whole": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "time": INSTANT,
    "text": pa.string(),
    "empty": pa.string(),
}
FEW = 12
"""Whole numbers with at most this many different values are codes, not amounts."""
_CODE = r"^0\d"
_TOO_LONG = r"^[+-]?\d{16,}$"
"""Lookups and models use float64, which represents every integer of up to fifteen digits exactly."""
_LISTED = 20
REPEATED = 0.05
"""If more than this share of rows repeat a key or have none, the key must be a different one."""
LONGEST_NAME = 60


@dataclass(frozen=True)
class Column:
    """One column: `filled` rows have a value, with `distinct` different values. `counts` gives the rows of each value, if there
    are at most twenty values.

    `least` and `most` are the smallest and largest finite number. `impossible` counts infinite numbers, and times that later
    steps cannot use.
    """

    name: str
    header: str
    kind: ColumnKind
    filled: int
    distinct: int
    counts: dict[str, int]
    least: float | None = None
    most: float | None = None
    impossible: int = 0

    @property
    def why_impossible(self) -> str:
        """Why a value of this column is impossible."""
        return f"not between {FIRST:%Y} and {END:%Y}" if self.kind == "time" else "infinite"

    @property
    def is_category(self) -> bool:
        return self.kind == "text" or (self.kind == "whole" and 2 < self.distinct <= FEW)

    @property
    def is_number(self) -> bool:
        return self.kind in ("whole", "number", "boolean")

    @property
    def is_binary(self) -> bool:
        """Whether it has two values, and it is clear which of them means yes."""
        return self.distinct == 2 and self.yes is not None

    @property
    def yes(self) -> str | None:
        """The value that means yes, or None if that is not clear."""
        words = {value.lower(): value for value in self.counts}
        pairs = ({"0", "1"}, {"0.0", "1.0"}, {"no", "yes"}, {"n", "y"}, {"false", "true"}, {"f", "t"})
        return next((words[max(pair)] for pair in pairs if set(words) == pair), None)


@dataclass(frozen=True)
class Profile:
    """The content of a file. `text` has its columns under the names that the code will use."""

    subject: str
    text: pa.Table
    columns: tuple[Column, ...]

    @property
    def rows(self) -> int:
        return int(self.text.num_rows)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def values(self, name: str, timezone: str = "UTC") -> pa.ChunkedArray:
        """A column's values. Times that later steps cannot use are null."""
        kind = self.column(name).kind
        values = parse(self.text[name], TYPES[kind], timezone)
        return pc.if_else(impossible(values), None, values) if kind == "time" else values

    def given(self, name: str) -> pa.ChunkedArray:
        """A column's text. Markers for a missing value are null."""
        return _given(self.text[name], self.column(name).kind)

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers, NaN where it is empty or infinite."""
        values = np.asarray(to_columns(pa.table({name: self.values(name)}))[name], dtype=np.float64)
        return np.where(np.isinf(values), np.nan, values)

    @property
    def times(self) -> list[Column]:
        return [column for column in self.columns if column.kind == "time"]

    @property
    def labels(self) -> list[Column]:
        """The columns that could be predicted: numbers, and columns with two values."""
        unique = {*self.unique}
        return [
            column
            for column in self.columns
            if column.is_binary or (column.is_number and column.distinct > 2 and column.name not in unique)
        ]

    @cached_property
    def unique(self) -> list[str]:
        """Columns with a different value in each row; those with `id` in their name come first."""
        whole = [column for column in self.columns if column.kind in ("whole", "text") and column.distinct == self.rows]
        return [column.name for column in sorted(whole, key=lambda column: "id" not in column.name.split("_"))]

    def keys(self, must: Sequence[str] = ()) -> tuple[str, ...]:
        """The fewest columns whose values identify a row: one column, or up to two more than those in `must`.

        If there are none: one column whose values are unique in nearly all rows, or ().
        """
        if self.unique:
            return (self.unique[0],)
        whole = [column for column in self.columns if column.kind in ("whole", "text") and column.distinct > 1]
        others = [column.name for column in sorted(whole, key=lambda each: -each.distinct) if column.name not in must]
        tried = [(*more, *must) for size in (0, 1, 2) for more in combinations(others[:6], size) if more or must]
        nearly = [(column.name,) for column in whole if column.distinct >= (1 - REPEATED) * self.rows]
        return next((key for key in tried if not self.repeated(key)), nearly[0] if nearly else ())

    def repeated(self, key: Sequence[str]) -> int:
        """How many rows have no key, or the key of an earlier row."""
        groups = self.text.select(list(key)).drop_null().group_by(list(key)).aggregate([])
        return self.rows - int(groups.num_rows)


def profile_columns(text: pa.Table, path: Path) -> Profile:
    """The profile of a file's text. Raises SourceError for a header that cannot be turned into a name."""
    named = {header: identifier(header) for header in text.column_names if header}
    _check_names(text.column_names, named, path)
    renamed = text.select(list(named)).rename_columns(list(named.values()))
    columns = tuple(_column(renamed[name], name, header) for header, name in named.items())
    return Profile(str(path), renamed, columns)


def _check_names(headers: Sequence[str], named: dict[str, str], path: Path) -> None:
    if len(headers) == 1 and any(mark in headers[0] for mark in ";\t|"):
        raise SourceError(
            f"has a single column, {headers[0]!r}",
            subject=str(path),
            remedy="Separate the columns by commas, and write decimals with a point",
        )
    nameless = [header for header, name in named.items() if not name]
    if nameless:
        raise SourceError(
            f"column {nameless[0]!r} has no letter from a to z and no digit to make a name of",
            subject=str(path),
            remedy="Rename it in the file",
        )
    for header, name in named.items():
        if len(name) > LONGEST_NAME:
            raise SourceError(
                f"column {header!r} has a name of more than {LONGEST_NAME} letters",
                subject=str(path),
                remedy="Rename it in the file",
            )
        alike = [header for header in headers if header and identifier(header) == name]
        if len(alike) > 1:
            raise SourceError(
                f"columns {', '.join(map(repr, alike))} would all be called {name}",
                subject=str(path),
                remedy="Rename all but one of them in the file",
            )


def _column(text: pa.ChunkedArray, name: str, header: str) -> Column:
    kind = _kind(present(text))
    given = _given(text, kind).drop_null()
    distinct = int(pc.count_distinct(given).as_py())
    counts = (
        {each["values"]: each["counts"] for each in pc.value_counts(given).to_pylist()} if distinct <= _LISTED else {}
    )
    return Column(name, header, kind, len(given), distinct, dict(sorted(counts.items())), *_range(given, kind))


def _given(text: pa.ChunkedArray, kind: ColumnKind) -> pa.ChunkedArray:
    return text if kind == "text" else present(text)


def _kind(given: pa.ChunkedArray) -> ColumnKind:
    """The kind of a column. Codes with leading zeros, and integers too long for float64, are text."""
    if given.null_count == len(given):
        return "empty"
    is_code = any(pc.any(pc.match_substring_regex(given, pattern)).as_py() for pattern in (_CODE, _TOO_LONG))
    kinds: tuple[ColumnKind, ...] = ("time",) if is_code else ("whole", "boolean", "number", "time")
    return next((kind for kind in kinds if parses(given, TYPES[kind])), "text")


def _range(given: pa.ChunkedArray, kind: ColumnKind) -> tuple[float | None, float | None, int]:
    """The smallest and the largest finite number, and how many values are impossible."""
    if kind not in ("whole", "number", "time"):
        return None, None, 0
    values = parse(given, TYPES[kind], "UTC")
    count = pc.sum(impossible(values)).as_py() or 0
    if kind == "time":
        return None, None, count
    found = pc.min_max(values.filter(pc.is_finite(values))).as_py()
    return found["min"], found["max"], count


def misfit(profile: Profile, column: Column, kind: ColumnKind) -> str:
    """The first value of a column that is not of that kind, with its row."""
    if column.kind == "empty":
        return "nothing"
    text = profile.text[column.name]
    row = first_misfit(text, TYPES[kind], "UTC")
    return f"{text[row].as_py()!r} in row {row + 1} after the header"


def is_nearly(profile: Profile, column: Column, kind: ColumnKind) -> bool:
    """Whether most of a column's cells are of that kind."""
    given = present(profile.text[column.name])
    misfits = pc.sum(lost(given, parse(given, TYPES[kind], "UTC"))).as_py() or 0
    return bool(2 * misfits < len(given) - given.null_count)


def named(profile: Profile, text: str, field: str) -> Column:
    """The column with that header or name. Raises UnansweredError about `field` if there is none."""
    found = [column for column in profile.columns if text in (column.header, column.name)]
    if not found:
        names = [column.name for column in profile.columns]
        raise UnansweredError(
            f"there is no column {text!r}{did_you_mean(text, names)}",
            subject=profile.subject,
            field=field,
            form="COLUMN",
            among=names,
        )
    return found[0]
