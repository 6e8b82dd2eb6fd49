"""Parse CSV files and text: names that code can use, typed values, and errors that name row and value."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pydantic import BaseModel

from ratchet.core.clock import Instants, utc_time
from ratchet.core.errors import SourceError
from ratchet.sources.csv_lines import Lines, check_swallowed, scan
from ratchet.sources.unreadable import converted, lost
from ratchet.use_case.contract import INSTANT, ROW_ID, UNREADABLE

RESERVED = {
    ROW_ID,
    UNREADABLE.name,
    "reasons",
    "request_id",
    "event_timestamp",
    "label",
    "label_known_at",
    "prediction",
    "self",
    "int",
    "float",
    "str",
    "bool",
}
"""Names that no column of a file may have: columns of the pipelines, the parameter `self`, and names of types."""
_MISSING = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None"]
_OFFSET = r":\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$"
_DATE = r"^\d{4}-\d\d-\d\d$"
_FRACTION = r"(\.\d{6})\d+"
_HOUR = np.timedelta64(1, "h")


def identifier(header: str) -> str:
    """A column's name in code: `Meter ID` and `meterID` become meter_id; "" if no letter or digit is left.

    A keyword of Python or a reserved name gets an underscore at its end.
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", header)
    letters = unicodedata.normalize("NFKD", apart.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    if name[:1].isdigit():
        name = f"column_{name}"
    is_taken = keyword.iskeyword(name) or name in RESERVED or hasattr(BaseModel, name)
    return f"{name}_" if is_taken else name


@dataclass(frozen=True)
class Text:
    """A CSV file as text: its rows under the unchanged headers, with null for an empty cell.

    `broken` maps the indexes of rows that cannot be split into cells to their text; in `rows` all cells of these are null.
    """

    rows: pa.Table
    broken: Mapping[int, str]


def read_text(path: Path) -> pa.Table:
    """The rows of a CSV file as text. Raises SourceError, also if a row is broken."""
    text = read_rows(path)
    if text.broken:
        row, line = next(iter(text.broken.items()))
        raise SourceError(
            f"row {row + 1} after the header cannot be split into {text.rows.num_columns} cells: {line!r}",
            subject=str(path),
            remedy="Fix the row: a cell with a comma or a quote in it must be quoted, and quotes inside it written twice",
        )
    return text.rows


def read_rows(path: Path) -> Text:
    """A CSV file with every value as text. Raises SourceError, also if a quote turns several rows into one cell."""
    lines = _scanned(path)
    if not lines.rows:
        raise SourceError("holds no row", subject=str(path), remedy="Deliver it whole, or remove it")
    broken: dict[int, str] = {}

    def leave_out(row: pyarrow.csv.InvalidRow) -> str:
        broken[row.number - 2] = row.text  # the header is row 1
        return "skip"

    rows = _parsed(path, leave_out)
    check_swallowed(path, lines.spanning, rows)
    return _with_broken(rows, broken, lines.stray)


def _scanned(path: Path) -> Lines:
    try:
        return scan(path)
    except OSError as error:
        raise _no_csv(path, error) from error


def _parsed(path: Path, leave_out: Callable[[pyarrow.csv.InvalidRow], str]) -> pa.Table:
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=leave_out)
    in_order = pyarrow.csv.ReadOptions(use_threads=False)  # with threads, rows that are left out have no number
    try:
        names = pyarrow.csv.open_csv(path, read_options=in_order, parse_options=parsing).schema.names
        as_text = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        return pyarrow.csv.read_csv(path, in_order, parsing, as_text)
    except (pa.ArrowException, OSError) as error:
        raise _no_csv(path, error) from error


def _no_csv(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"cannot be read as CSV ({' '.join(str(error).split())})",
        subject=str(path),
        remedy="Deliver it whole: comma-separated, in UTF-8, with a line of column names",
    )


def _with_broken(rows: pa.Table, left_out: Mapping[int, str], stray: Mapping[int, str]) -> Text:
    """All rows of the file: those that were left out, and those with a stray quote, are null in all columns."""
    if not left_out and not stray:
        return Text(rows, {})
    is_parsed = np.ones(rows.num_rows + len(left_out), bool)
    is_parsed[[*left_out]] = False
    places = np.where(is_parsed, np.cumsum(is_parsed) - 1, 0)
    misread = {row: line for row, line in stray.items() if row >= 0 and row not in left_out}
    broken = {**left_out, **misread}
    is_parsed[[*misread]] = False
    return Text(rows.take(pa.array(places, mask=~is_parsed)), dict(sorted(broken.items())))


def first_misfit(text: pa.ChunkedArray, kind: pa.DataType, timezone: str) -> int:
    """The index of the first row that cannot be parsed; -1 if there is none."""
    return int(pc.index(lost(present(text), parse(text, kind, timezone)), True).as_py())


def parses(text: pa.ChunkedArray, kind: pa.DataType, timezone: str = "UTC") -> bool:
    """Whether every value that is not missing can be parsed as `kind`."""
    return first_misfit(text, kind, timezone) < 0


def parse(text: pa.ChunkedArray, kind: pa.DataType, timezone: str) -> pa.ChunkedArray:
    """Text as values of `kind`: int64, float64, bool, string or INSTANT; null for a missing value, or one of another kind."""
    if pa.types.is_string(kind):
        return pc.if_else(pc.match_substring(text, "\0"), pa.scalar(None, pa.string()), text)
    given = present(text)
    fitting = pc.if_else(pc.match_substring_regex(given, _FORMS[str(kind)]), given, pa.scalar(None, pa.string()))
    return converted(fitting, partial(_values, kind=kind, timezone=timezone))


_FORMS = {
    "int64": r"^[+-]?\d+(\.0*)?$",
    "double": r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)$",
    "bool": r"(?i)^(true|false|0|1)$",
    str(INSTANT): r"^\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$",
}
"""Patterns of the values of a kind. A value that fits but is wrong, such as the 30th of February, takes longer to find."""


def _values(given: pa.ChunkedArray, kind: pa.DataType, timezone: str) -> pa.ChunkedArray:
    """Raises pyarrow's ArrowInvalid."""
    if pa.types.is_timestamp(kind):
        return _instants(given, timezone)
    if pa.types.is_integer(kind):
        return _integers(given, kind)
    return given.cast(kind)


def present(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without spaces around it; null for a text that means a missing value, such as `NA`."""
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(trimmed, value_set=pa.array(_MISSING)), pa.scalar(None, pa.string()), trimmed)


def _integers(text: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Accepts 3.0 for 3, too: pandas writes this in a column with missing values."""
    return pc.replace_substring_regex(text, r"^\+?(-?\d+)(\.0*)?$", r"\1").cast(kind)


def _instants(text: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    """Times with an offset are absolute, others are local in `timezone`."""
    shortened = pc.replace_substring_regex(text, _FRACTION, r"\1")
    nothing, absolute = pa.scalar(None, pa.string()), pc.match_substring_regex(shortened, _OFFSET)
    wall_clock = pc.if_else(absolute, nothing, shortened).cast(pa.timestamp("us")).to_numpy()
    begins_day = pc.match_substring_regex(shortened, _DATE).fill_null(False).to_numpy()
    naive = localized(wall_clock, begins_day, timezone)
    return pc.coalesce(pc.if_else(absolute, shortened, nothing).cast(INSTANT), naive)


def localized(wall_clock: Instants, begins_day: Instants, timezone: str) -> pa.Array:
    """Naive local times as instants, null for a time that a jump to summer time skipped. Where `begins_day`, the time is the
    midnight of a day; if it was skipped, the day begins at the jump, one hour later by the clock."""
    found = utc_time(wall_clock, timezone)
    skipped = begins_day & np.isnat(found) & ~np.isnat(wall_clock)
    return pa.array(np.where(skipped, utc_time(wall_clock + _HOUR, timezone), found)).cast(INSTANT)
