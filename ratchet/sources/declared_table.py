"""A table that a source delivers, in the schema that the use case declares: the one way from a delivered row to a raw row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError
from ratchet.sources.column_values import values_of
from ratchet.sources.headers import Headers, Kind
from ratchet.sources.unreadable import WHOLE_ROW, keep, keep_lost
from ratchet.storage.digests import digest
from ratchet.use_case.contract import INSTANT

AS_OF, KNOWN_AT = "as_of", "known_at"
"""The columns that `scattered_by` and `known_after` add."""
AT_ONCE = timedelta(seconds=1)
"""The delay of a label without a known delay: a label must be known later than its request."""


@dataclass(frozen=True)
class Delivered:
    """Delivered columns under the names of the schema. `broken` maps the indexes of rows that cannot be split into columns to
    their text; in `columns` these rows are null. `headers` are all that were delivered, and `kinds` the types of those, by
    index, that have one or are in no column."""

    columns: Mapping[str, pa.ChunkedArray]
    headers: Sequence[str]
    kinds: Mapping[int, Kind]
    broken: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DeclaredTable:
    """What the ready-made sources are told of a table: its name and schema, and where what is not delivered comes from.

    The schema has int64, float64, bool, string and INSTANT columns. A column of it is the delivered one whose header has that
    `identifier`. Times without an offset are local in `timezone`. `known_after` (column, delay) adds the instant KNOWN_AT,
    which is the column plus the delay. `scattered_by` adds two instants to rows without any time, for a use case with
    `split="entity"`: AS_OF, a time in the period that only depends on a hash of that column, and KNOWN_AT, one second later.
    `renamed` maps further headers to columns of the schema: `{"gratuity": "tip"}` reads either header as `tip`. A column that
    is `optional` is null in a batch that does not have it. Raises SettingsError if the schema lacks one of these columns.
    """

    table: str
    schema: pa.Schema
    timezone: str
    known_after: tuple[str, timedelta] | None = None
    scattered_by: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)
    optional: Sequence[str] = ()

    def __post_init__(self) -> None:
        missing = [name for name in (*self.derived, *self._sources) if name not in self.schema.names]
        if missing:
            raise SettingsError(
                f"the schema lacks {', '.join(missing)}",
                subject=f"source of {self.table}",
                remedy="Add it to the schema that the source is given",
            )
        if isinstance(self.optional, str):
            raise SettingsError(
                f"optional={self.optional!r} is a text",
                subject=f"source of {self.table}",
                remedy=f'Write optional=("{self.optional}",)',
            )
        _ = self.headers

    @property
    def _sources(self) -> tuple[str, ...]:
        """The delivered columns from which others follow."""
        return tuple(name for name in (self.scattered_by, self.known_after and self.known_after[0]) if name)

    @cached_property
    def headers(self) -> Headers:
        """How the delivered columns are found."""
        wanted = tuple(name for name in self.schema.names if name not in self.derived)
        return Headers(f"source of {self.table}", wanted, self.renamed, tuple(self.optional), self._sources)

    @property
    def derived(self) -> tuple[str, ...]:
        """The columns of the schema that are not delivered."""
        if self.scattered_by:
            return AS_OF, KNOWN_AT
        return (KNOWN_AT,) if self.known_after else ()

    def digest(self, name: str, content: str, period: Period) -> str:
        """The digest of a batch whose rows change only with `content`."""
        asked = [
            self.schema.to_string(),
            self.timezone,
            self.known_after,
            self.scattered_by,
            self.renamed,
            self.optional,
        ]
        return digest(asked, str(period) if self.scattered_by else "", name, content)

    def notes(self, headers: Sequence[str], kinds: Mapping[int, Kind]) -> list[str]:
        """What was done with columns whose header or type is not the declared one."""
        return self.headers.notes(headers, kinds, {name: self.schema.field(name).type for name in self.headers.wanted})

    def conform(self, delivered: Delivered, period: Period) -> pa.Table:
        """The rows in the declared schema, with their unreadable values."""
        given, columns = {}, {}
        for name, column in delivered.columns.items():
            given[name], columns[name] = values_of(column, self.schema.field(name).type, self.timezone)
        rows = len(next(iter(columns.values())))
        for name in self.optional:
            columns.setdefault(name, pa.nulls(rows, self.schema.field(name).type))
        schema = pa.schema([self.schema.field(name) for name in columns])
        found = self._with_derived(keep_lost(pa.table(columns, schema=schema), given), period)
        others = [name for name in found.column_names if name not in self.schema.names]
        broken = {row: {WHOLE_ROW: line} for row, line in delivered.broken.items()}
        return keep(found.select([*self.schema.names, *others]), broken)

    def _with_derived(self, rows: pa.Table, period: Period) -> pa.Table:
        if self.scattered_by:
            rows = rows.append_column(AS_OF, _scattered(rows[self.scattered_by], period))
        if self.derived:
            column, delay = self.known_after or (AS_OF, AT_ONCE)
            rows = rows.append_column(KNOWN_AT, pc.add(rows[column], pa.scalar(delay, pa.duration("us"))))
        return rows


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
