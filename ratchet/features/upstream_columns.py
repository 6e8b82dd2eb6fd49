"""Whether the Parquet files of another system have the declared columns, in types whose values can be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from ratchet.core.errors import SourceError


def check_columns(path: Path, declared: Mapping[str, str]) -> None:
    """Raise SourceError unless a file has these columns, each of a type whose values all fit. `declared`: name → SQL type."""
    try:
        found = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        problem = f"cannot be read as Parquet ({' '.join(str(error).split())[:200]})"
        raise SourceError(problem, subject=str(path), remedy="Let the other system write it again, whole") from error
    problems = [_problem(found, name, wanted) for name, wanted in declared.items()]
    if any(problems):
        raise SourceError(
            "; ".join(filter(None, problems)),
            subject=str(path),
            remedy="Let the other system write the declared columns, or change the schema of `upstream`",
        )


def _problem(found: pa.Schema, name: str, wanted: str) -> str:
    """Empty if there is none."""
    if found.names.count(name) != 1:
        return f"has {found.names.count(name) or 'no'} column {name!r}"
    kind = found.field(name).type
    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    return "" if _FITS[wanted](kind) else f"has {name!r} as {kind}, which does not fit {wanted}"


def _is_integer(kind: pa.DataType) -> bool:
    return bool(kinds.is_integer(kind) and kind != pa.uint64())


def _is_number(kind: pa.DataType) -> bool:
    """Whether float64 holds every value, or the nearest one of a decimal."""
    return bool(kinds.is_floating(kind) or kinds.is_decimal(kind) or (kinds.is_integer(kind) and kind.bit_width <= 32))


def _is_instant(kind: pa.DataType) -> bool:
    return bool(kinds.is_timestamp(kind) and kind.tz)


_FITS: Mapping[str, Callable[[pa.DataType], bool]] = {
    "BIGINT": _is_integer,
    "DOUBLE": _is_number,
    "VARCHAR": lambda kind: kinds.is_string(kind) or kinds.is_large_string(kind),
    "BOOLEAN": kinds.is_boolean,
    "TIMESTAMPTZ": _is_instant,
}
"""SQL type → whether a type of Arrow fits it."""
