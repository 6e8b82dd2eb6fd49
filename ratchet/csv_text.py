"""CSV files as text, and text as values: names that code can use, and errors that name column, row and value."""

from __future__ import annotations

import keyword
import re
import unicodedata
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pydantic import BaseModel

from ratchet.clock import Instants, utc_time
from ratchet.errors import SourceError
from ratchet.use_case import INSTANT, ROW_ID

RESERVED = {
    ROW_ID,
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
"""Names that the pipelines give to columns of their own, that no keyword can have, and those of types."""
_MISSING = pa.array(["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None"])
_OFFSET = r":\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$"
_DATE = r"^\d{4}-\d\d-\d\d$"
_FRACTION = r"(\.\d{6})\d+"
_HOUR = np.timedelta64(1, "h")


def identifier(header: str) -> str:
    """The name under which a column is known: `Meter ID` and `meterID` are meter_id; "" where nothing is left.

    A keyword of Python, and a name that something else has already, gets an underscore at its end.
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", header)
    letters = unicodedata.normalize("NFKD", apart.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    if name[:1].isdigit():
        name = f"column_{name}"
    is_taken = keyword.iskeyword(name) or name in RESERVED or hasattr(BaseModel, name)
    return f"{name}_" if is_taken else name


def read_text(path: Path) -> pa.Table:
    """A CSV file with every value as text, null where a cell is empty, and the headers as they are. Raises SourceError."""
    try:
        names = pyarrow.csv.open_csv(path, parse_options=_parsing()).schema.names
        as_text = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        table = pyarrow.csv.read_csv(path, parse_options=_parsing(), convert_options=as_text)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"cannot be read as CSV ({' '.join(str(error).split())})",
            subject=str(path),
            remedy="Deliver it whole: comma-separated, in UTF-8, with a line of column names",
        ) from error
    if not table.num_rows:
        raise SourceError("holds no row", subject=str(path), remedy="Deliver it whole, or take it away")
    return table


def _parsing() -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(newlines_in_values=True)


def read_columns(path: Path, schema: pa.Schema, timezone: str) -> tuple[pa.Table, list[str]]:
    """A CSV file in exactly these columns, and notes on what was left out. Raises SourceError.

    Times without an offset are local in `timezone`. A row with one that a jump to summer time skipped has no times at all, so
    that it is quarantined: a null by itself may say that something has not happened yet. A date is the moment at which that
    local day begins.
    """
    text = read_text(path)
    places = _places(text, schema, path)
    columns = {field.name: _column(text.column(places[field.name]), field, timezone, path) for field in schema}
    lost = {
        field.name: _lost(text.column(places[field.name]), columns[field.name])
        for field in schema
        if field.type == INSTANT
    }
    timeless = reduce(pc.or_, lost.values(), pa.scalar(False))
    columns |= {name: pc.if_else(timeless, pa.scalar(None, INSTANT), columns[name]) for name in lost}
    notes = [
        f"{header or 'a column without a name'}: dropped"
        for place, header in enumerate(text.column_names)
        if place not in places.values()
    ]
    skipped = [
        f"{name}: {rows.true_count} times that the jump to summer time skipped, now null, as are all times of their rows"
        for name, rows in lost.items()
        if rows.true_count
    ]
    return pa.table(columns, schema=schema), [*notes, *skipped]


def _places(text: pa.Table, schema: pa.Schema, path: Path) -> dict[str, int]:
    """Where in the file each column of the schema is."""
    places: dict[str, int] = {}
    for place, header in enumerate(text.column_names):
        name = identifier(header)
        if name in places and name in schema.names:
            first = text.column_names[places[name]]
            raise SourceError(
                f"columns {first!r} and {header!r} would both be {name}",
                subject=str(path),
                remedy="Rename one of them in the file",
            )
        places[name] = place
    missing = [name for name in schema.names if name not in places]
    if missing:
        raise SourceError(
            f"lacks column {', '.join(missing)}; it has {', '.join(text.column_names)}",
            subject=str(path),
            remedy="Deliver it with that column, or take the column out of the use case's schema",
        )
    return {name: places[name] for name in schema.names}


def _column(text: pa.ChunkedArray, field: pa.Field, timezone: str, path: Path) -> pa.ChunkedArray:
    try:
        return parse(text, field.type, timezone)
    except pa.ArrowInvalid as error:
        row = first_misfit(text, field.type, timezone)
        raise SourceError(
            f"column {field.name}, row {row + 1} after the header: {text[row].as_py()!r} is no {_KINDS[str(field.type)]}",
            subject=str(path),
            remedy="Mend the value, leave the cell empty, or change the column's type in the use case",
        ) from error


_KINDS = {
    "int64": "whole number",
    "double": "number",
    "bool": "true or false",
    str(INSTANT): "time such as 2024-01-31 or 2024-01-31T18:30:00",
}


def first_misfit(text: pa.ChunkedArray, kind: pa.DataType, timezone: str) -> int:
    """The first row that cannot be parsed, where there is one."""
    first, size = 0, len(text)
    while size > 1:
        half = size // 2
        if parses(text.slice(first, half), kind, timezone):
            first, half = first + half, size - half
        size = half
    return first


def parses(text: pa.ChunkedArray, kind: pa.DataType, timezone: str = "UTC") -> bool:
    """Whether every value that is there is one of `kind`."""
    try:
        parse(text, kind, timezone)
    except pa.ArrowInvalid:
        return False
    return True


def parse(text: pa.ChunkedArray, kind: pa.DataType, timezone: str) -> pa.ChunkedArray:
    """Text as values of `kind`: int64, float64, bool, string or INSTANT. Raises pyarrow's ArrowInvalid."""
    if pa.types.is_string(kind):
        return text
    given = present(text)
    if pa.types.is_timestamp(kind):
        return _instants(given, timezone)
    if pa.types.is_integer(kind):
        return _integers(given, kind)
    return given.cast(kind)


def present(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without spaces around it, null where it says that nothing is known."""
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(trimmed, value_set=_MISSING), pa.scalar(None, pa.string()), trimmed)


def _integers(text: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Also where something wrote 3 as 3.0, as pandas does in a column with gaps."""
    return pc.replace_substring_regex(text, r"^([+-]?\d+)\.0*$", r"\1").cast(kind)


def _instants(text: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    """Times with an offset as they are, others in `timezone`."""
    shortened = pc.replace_substring_regex(text, _FRACTION, r"\1")
    nothing, absolute = pa.scalar(None, pa.string()), pc.match_substring_regex(shortened, _OFFSET)
    wall_clock = pc.if_else(absolute, nothing, shortened).cast(pa.timestamp("us")).to_numpy()
    begins_day = pc.match_substring_regex(shortened, _DATE).fill_null(False).to_numpy()
    naive = pa.array(_utc(wall_clock, begins_day, timezone)).cast(INSTANT)
    return pc.coalesce(pc.if_else(absolute, shortened, nothing).cast(INSTANT), naive)


def _utc(wall_clock: Instants, begins_day: Instants, timezone: str) -> Instants:
    """A day whose midnight was skipped begins with the jump, an hour later by the clock."""
    found = utc_time(wall_clock, timezone)
    skipped = begins_day & np.isnat(found) & ~np.isnat(wall_clock)
    return np.where(skipped, utc_time(wall_clock + _HOUR, timezone), found)


def _lost(text: pa.ChunkedArray, column: pa.ChunkedArray) -> pa.BooleanArray:
    """The rows that have a text and no value."""
    return pc.and_(pc.is_null(column), pc.is_valid(present(text))).combine_chunks()
