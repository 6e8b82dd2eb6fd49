"""The rows of an upstream view, computed from the other system's files whenever they are read. Nothing is copied.

The online store learns of a row in the first run of the feature pipeline after the row was available, and so does every join.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import Field

from ratchet.core.errors import SettingsError, SourceError
from ratchet.core.frozen import Frozen
from ratchet.core.schedule import first_ticks
from ratchet.core.settings import PARAMS_FILE
from ratchet.features.expressions import compile_view
from ratchet.features.upstream_columns import check_columns
from ratchet.features.upstream_files import find_files
from ratchet.storage.duckdb import Query, parquet
from ratchet.storage.sql import names, quoted, timestamptz
from ratchet.use_case.columns import AVAILABLE_AT, EVENT_TIMESTAMP
from ratchet.use_case.contract import INSTANT, UseCase
from ratchet.use_case.upstream import IS_ABOUT, IS_THERE, Upstream

if TYPE_CHECKING:
    from ratchet.project.run import Run

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    INSTANT: "TIMESTAMPTZ",
}
_MINUTE, _RUN = "minute of arrival", "first run after it"
"""Columns that say when rows arrived, and which run of the feature pipeline was the first that had them."""
_LITTLE = (1, "1GB")
"""Threads and memory for a query of a single column."""


class UpstreamRows(Frozen):
    """The rows of a view in the files at `place`: a file, a folder or a pattern.

    `columns` are the declared ones with their SQL types. `table` is the name of the table on which the view's `sql` stands, and
    `schedule` says when the feature pipeline runs. All but the place can be kept as text.
    """

    place: Path = Field(exclude=True)
    table: str
    sql: str
    keys: tuple[str, ...]
    columns: dict[str, str]
    event_time: str
    available_at: str
    lag: timedelta
    schedule: str

    @classmethod
    def of(cls, declared: Upstream, sql: str, place: Path, schedule: str) -> UpstreamRows:
        return cls(
            place=place,
            table=declared.table,
            sql=sql,
            keys=declared.keys,
            columns={field.name: _TYPES[field.type] for field in declared.schema},
            event_time=declared.event_time,
            available_at=declared.available_at,
            lag=declared.lag,
            schedule=schedule,
        )

    def files(self) -> list[Path]:
        """The files, in order. Raises SourceError if there is none, or if one has not the declared columns."""
        found = find_files(self.place)
        if not found:
            raise SourceError(
                "holds no file",
                subject=f"{self.table} at {self.place}",
                remedy=f"Let the other system write it, or correct `upstream` in {PARAMS_FILE}",
            )
        for path in found:
            check_columns(path, self.columns)
        return found

    def delivered(self, files: Sequence[Path]) -> str:
        """SQL for the declared columns of all rows of the files."""
        columns = [f"{quoted(name)}::{kind} AS {quoted(name)}" for name, kind in self.columns.items()]
        return f"SELECT {', '.join(columns)} FROM {parquet([str(path) for path in files], by_name=True)}"

    def known_before(self, at: datetime) -> str:
        """SQL for the condition that a delivered row had arrived strictly before an instant."""
        return f"{self._arrived} < {timestamptz(at)}"

    def between(self, columns: Sequence[str], first: datetime | None, last: datetime | None) -> Query:
        """The rows of the view that count from `first` to `last` (inclusive), as they were known at `last`."""
        return self._selected(columns, [*_bound(">=", first), *_bound("<=", last)], last)

    def following(self, columns: Sequence[str], at: datetime) -> Query:
        """The rows that count from `at` on and follow from what was known at `at`."""
        return self._selected(columns, _bound(">=", at), at)

    def _selected(self, columns: Sequence[str], bounds: Sequence[str], known: datetime | None) -> Query:
        """The columns of the view's rows within the bounds, computed from what was known at an instant (None: from all)."""
        files, runs = self.files(), f"runs for {self.table}"
        as_of = f"WHERE {quoted(_RUN)} <= {timestamptz(known)}" if known else ""
        stored = (
            f"SELECT *, {quoted(self.event_time)} AS {quoted(IS_ABOUT)}, {quoted(self.available_at)} AS {quoted(IS_THERE)}, "
            f"{quoted(_RUN)} AS {AVAILABLE_AT} FROM ({self.delivered(files)}) "
            f"JOIN {quoted(runs)} ON {quoted(_MINUTE)} = {self._minute} {as_of}"
        )
        where = f"WHERE {' AND '.join(bounds)}" if bounds else ""
        sql = f"WITH {quoted(self.table)} AS ({stored}) SELECT {names(columns)} FROM ({self.sql}) {where}"
        return Query(sql, {runs: self._runs(files)})

    @property
    def _minute(self) -> str:
        return f"date_trunc('minute', {self._arrived})"

    @property
    def _arrived(self) -> str:
        return f"({quoted(self.available_at)} + to_microseconds({self.lag // timedelta(microseconds=1)}))"

    def _runs(self, files: Sequence[Path]) -> pa.Table:
        """For each minute in which rows arrived, the first run of the feature pipeline that has them: one after that minute."""
        arrived = f"SELECT DISTINCT {self._minute} AS minute FROM ({self.delivered(files)})"
        found = Query(f"FROM ({arrived}) WHERE minute IS NOT NULL ORDER BY minute").run(*_LITTLE)["minute"]
        minutes = np.asarray(found.cast(pa.timestamp("us")).to_numpy())
        runs = first_ticks(self.schedule, minutes + np.timedelta64(1, "m"))
        return pa.table({_MINUTE: found, _RUN: pa.array(runs).cast(INSTANT)})


def upstream_rows(run: Run) -> dict[str, UpstreamRows]:
    """Upstream view → its rows. Raises SettingsError unless params.yaml says for each of them, and for no other, where its
    files lie."""
    declared = {view.name: view for view in run.use_case.views if view.upstream}
    _require_same(declared, run.settings.upstream, run.use_case)
    return {
        name: UpstreamRows.of(
            view.upstream,
            compile_view(run.use_case, view).sql,
            run.root / run.settings.upstream[name],
            run.settings.schedules.feature,
        )
        for name, view in declared.items()
        if view.upstream
    }


def _require_same(declared: Mapping[str, object], places: Mapping[str, str], use_case: UseCase) -> None:
    if missing := sorted(declared.keys() - places.keys()):
        lines = "; ".join(f"`{name}: FILE.parquet`" for name in missing)
        raise SettingsError(
            f"does not say where the files of {', '.join(missing)} lie",
            subject=f"{PARAMS_FILE}: upstream",
            remedy=f"Add to use_cases.{use_case.name}.upstream: {lines} (a file, a folder or a pattern)",
        )
    if unknown := sorted(places.keys() - declared.keys()):
        raise SettingsError(
            f"names {', '.join(unknown)}, and the use case declares no such view by `upstream`",
            subject=f"{PARAMS_FILE}: upstream",
            remedy="Remove the line, or declare the view",
        )


def _bound(comparison: str, instant: datetime | None) -> list[str]:
    return [f"{EVENT_TIMESTAMP} {comparison} {timestamptz(instant)}"] if instant else []
