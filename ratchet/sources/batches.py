"""The batches of the active source, in canonical types and with an id for every row."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ratchet.code.code_digest import code_digest
from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError, SourceError
from ratchet.core.paths import Paths
from ratchet.core.scope import Scope
from ratchet.core.settings import PARAMS_FILE, SourceSettings
from ratchet.sources import unreadable
from ratchet.sources.places import located, without_secrets
from ratchet.use_case.batch import Batch, Gap, Keeping, Loader, Unread
from ratchet.use_case.columns import LATE_AT
from ratchet.use_case.contract import INSTANT, UNREADABLE, SourceTable, UseCase, use_case_module

if TYPE_CHECKING:
    from ratchet.project.run import Run

_NOTES = b"ratchet.notes"
_DELIVERED = b"ratchet.delivered"
_LATE = b"ratchet.late"
_SEEN = b"ratchet.seen"
"""Metadata of a stored batch, for a rerun that reads nothing: the loader's notes, the number of rows and of late rows, and the
instants as of which rows, or what became known of them, were first there."""
MOST_UNREADABLE = 0.5
"""If more than this share of a column's values, and at least two, are unreadable, the whole batch is refused."""


@dataclass(frozen=True)
class Source:
    """A loader of the use case with its settings; `settings.path` is an address, or may be relative to the folder `root`."""

    scope: Scope
    use_case: UseCase
    settings: SourceSettings
    period: Period
    root: Path

    @classmethod
    def open(cls, run: Run) -> Source:
        """The source that params.yaml selects, up to the as-of instant of the feature pipeline. Raises SettingsError if the use
        case has no source of that name."""
        return cls.of(run, run.period("all"))

    @classmethod
    def of(cls, run: Run, period: Period) -> Source:
        """The same source, for another period."""
        settings, use_case = run.settings.source, run.use_case
        if settings.name not in use_case.sources:
            raise SettingsError(
                f"source {settings.name!r} is none of {', '.join(sorted(use_case.sources))}",
                subject=PARAMS_FILE,
                remedy="Set source.name to one of them",
            )
        if unknown := settings.lag.keys() - {table.name for table in use_case.tables}:
            raise SettingsError(
                f"source.lag names {', '.join(sorted(unknown))}, which is no table of {use_case.name}",
                subject=PARAMS_FILE,
                remedy=f"Name some of {', '.join(table.name for table in use_case.tables)}",
            )
        return cls(run.scope, use_case, settings, period, run.root)

    @property
    def loader(self) -> Loader:
        """The loader, with a folder for what it keeps between runs."""
        loader = self.use_case.sources[self.settings.name]
        return loader.kept_in(Paths(self.root, self.scope).downloads) if isinstance(loader, Keeping) else loader


@dataclass(frozen=True)
class Found:
    """The content of the active source: `{table}/{name}` → the batch, the batches that are missing, and everything that is not
    read."""

    batches: Mapping[str, Batch]
    gaps: Sequence[Gap]
    unread: Sequence[Unread]


def find(source: Source) -> Found:
    """The content of the source. Raises SourceError unless every table of the use case has a batch."""
    settings, tables = source.settings, {table.name for table in source.use_case.tables}
    batches: dict[str, Batch] = {}
    gaps: list[Gap] = []
    unread: list[Unread] = []
    for found in source.loader(located(source.root, settings.path), settings.options, source.period):
        if isinstance(found, Unread):
            unread.append(found)
            continue
        if isinstance(found, Gap):
            gaps.append(found)
            continue
        unit = f"{found.table}/{found.name}"
        if problem := _problem(found, unit in batches, tables):
            raise SourceError(problem, subject=f"batch {unit}", remedy="Fix the use case's loader")
        batches[unit] = found
    missing = tables - {batch.table for batch in batches.values()}
    if missing:
        raise SourceError(
            f"delivers nothing of {', '.join(sorted(missing))} in {source.period}",
            subject=f"source {settings.name!r} at {without_secrets(settings.path)}",
            remedy="Set source.path and windows.start in params.yaml to where and when there is data",
        )
    return Found(batches, gaps, unread)


def loader_code(source: Source) -> str:
    """A digest that changes with the code that the loader depends on.

    A plain function depends on its module and what that imports. A loader that a call returned, such as `file_source(...)`,
    also depends on the arguments of that call, so its digest covers the whole use case.
    """
    loader = source.loader
    is_plain = isinstance(loader, FunctionType) and not loader.__closure__
    return code_digest(loader.__module__ if is_plain else use_case_module(source.scope.use_case))


def _problem(batch: Batch, is_repeated: bool, tables: Collection[str]) -> str | None:
    if batch.table not in tables:
        return "is of no table of the use case"
    if is_repeated:
        return "is delivered twice"
    name = batch.name
    is_file_name = name.isprintable() and not name.startswith(".") and not {"/", "\\"} & {*name}
    return None if name and is_file_name else f"cannot be kept in a file named {name!r}"


def read(use_case: UseCase, batch: Batch) -> pa.Table:
    """The batch with its row ids, in its table's raw schema, and the loader's notes as metadata.

    A value that later steps cannot use becomes unreadable: an infinite number, an integer of a request that float64 cannot hold
    exactly, and an event or known time that is not between the clock's FIRST and END. Raises SourceError if the schema or the
    number of rows is wrong, or if most of a column is unreadable.
    """
    rows, notes = batch.read()
    table, subject = use_case.table(batch.table), f"batch {batch.table}/{batch.name}"
    _check_schema(table, subject, rows.schema)
    delivered = _delivered(batch, subject, rows.num_rows)
    kept = unreadable.without_impossible(rows, _bounded(use_case, table))
    problems = unreadable.found(kept)
    _check_readable(kept, subject, problems)
    row_ids = pa.array([f"{batch.name}:{row:08d}" for row in range(kept.num_rows)], pa.string())
    texts = kept[UNREADABLE.name] if problems else pa.nulls(kept.num_rows, UNREADABLE.type)
    in_time = [pa.nulls(kept.num_rows, INSTANT) for _ in (*table.late_columns, *table.seen_columns)]
    stored = pa.table([row_ids, *kept.select(table.schema.names).columns, *in_time, texts], schema=table.raw_schema)
    all_notes = json.dumps([*notes, *_unreadable_notes(problems)])
    return stored.replace_schema_metadata({_NOTES: all_notes, _DELIVERED: str(delivered)})


def without_rows(stored: pa.Table) -> pa.Table:
    """What a batch is that delivered nothing, from one that delivered something."""
    nothing = {_DELIVERED: "0", _LATE: "0", _SEEN: "[]"}
    return stored.slice(0, 0).replace_schema_metadata({**(stored.schema.metadata or {}), **nothing})


def delivered_rows(path: Path) -> int:
    """How many rows the source of a raw table's file held, counted independently of reading them."""
    return int(pq.read_schema(path).metadata[_DELIVERED])


def notes_of(path: Path) -> list[str]:
    """The loader's notes from when a raw table's file was read from its source."""
    notes: list[str] = json.loads(pq.read_schema(path).metadata[_NOTES])
    return notes


def with_arrivals(table: SourceTable, rows: pa.Table) -> pa.Table:
    """The raw rows of a batch; the metadata say how many of them came late, and as of which instants something came."""
    late = rows.num_rows - rows[LATE_AT].null_count
    instants = {
        instant.isoformat() for name in table.seen_columns for instant in pc.unique(rows[name].drop_null()).to_pylist()
    }
    arrivals = {_LATE: str(late), _SEEN: json.dumps(sorted(instants))}
    return rows.replace_schema_metadata({**rows.schema.metadata, **arrivals})


def late_rows(path: Path) -> int:
    """How many rows of a raw table's file came late."""
    return int(pq.read_schema(path).metadata[_LATE])


def seen_at(path: Path) -> list[datetime]:
    """The instants as of which rows of a raw table's file, or what became known of them, were first there; in order."""
    return [datetime.fromisoformat(at) for at in json.loads(pq.read_schema(path).metadata[_SEEN])]


def _delivered(batch: Batch, subject: str, read: int) -> int:
    """The number of rows that the source holds. Raises SourceError if it is 0, or if another number was read."""
    if not read:
        raise SourceError(
            "holds no row",
            subject=subject,
            remedy="Deliver it again, or remove the file to leave it out",
        )
    counted = batch.count() if batch.count else read
    if counted != read:
        raise SourceError(
            f"{read} rows were read of the {counted} that its source holds",
            subject=subject,
            remedy="Deliver it again, and report this if it happens again: no row may be lost or added in reading",
        )
    return counted


def _bounded(use_case: UseCase, table: SourceTable) -> list[str]:
    """The columns in which later steps cannot use every value."""
    times, asked = (table.event_time, table.known_at), use_case.request.model_fields
    return [
        field.name
        for field in table.schema
        if field.name in times
        or pa.types.is_floating(field.type)
        or (field.name in asked and pa.types.is_integer(field.type))
    ]


def _check_readable(rows: pa.Table, subject: str, problems: Mapping[str, unreadable.Found]) -> None:
    """Raises SourceError if a column is mostly unreadable: then the delivery is wrong, and not single values."""
    for name, problem in problems.items():
        is_column = name in rows.column_names
        given = problem.count + len(rows[name]) - rows[name].null_count if is_column else rows.num_rows
        if problem.count > max(1, MOST_UNREADABLE * given):
            kind = f"no valid {rows.schema.field(name).type}" if is_column else "rows with wrong cells or quotes"
            raise SourceError(
                f"column {name}: {problem.count} of {given} values are {kind}; the first is {problem.text!r} "
                f"in row {problem.row + 1}",
                subject=subject,
                remedy="Deliver it again in the form of earlier ones, or change the column's type in the use case",
            )


def _unreadable_notes(problems: Mapping[str, unreadable.Found]) -> list[str]:
    return [
        f"{name}: {problem.count} unreadable; the first is {problem.text!r} in row {problem.row + 1}"
        for name, problem in problems.items()
    ]


def _check_schema(table: SourceTable, subject: str, found: pa.Schema) -> None:
    expected = {field.name: str(field.type) for field in table.schema}
    delivered = {field.name: str(field.type) for field in found if field != UNREADABLE}
    problems = [
        *(f"lacks column {name!r}" for name in expected if name not in delivered),
        *(f"has unknown column {name!r}" for name in delivered if name not in expected),
        *(
            f"has {name!r} as {delivered[name]} instead of {kind}"
            for name, kind in expected.items()
            if delivered.get(name, kind) != kind
        ),
    ]
    if problems:
        raise SourceError(
            "; ".join(problems),
            subject=subject,
            remedy="Deliver it with its columns, or adapt the use case's loader to the change",
        )
