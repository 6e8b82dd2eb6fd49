"""The contract: what a use case declares, and all that the pipelines know of it.

A use case is a folder with a `use_case` object. From it follow the tables and their partitions, the Feast objects, the
training set, the gate, the service's request schema and the monitoring.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError

if TYPE_CHECKING:
    import ibis

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
"""Columns of equal length, in one order of rows: one row online, millions in training."""
Tables = Mapping[str, "ibis.Table"]
INSTANT = pa.timestamp("us", "UTC")
"""How every stored timestamp is kept."""
ROW_ID = "row_id"
"""`{batch}:{row number in the batch}`: unique in its table, and the way back to the delivered row."""
UNREADABLE = pa.field("unreadable", pa.map_(pa.string(), pa.string()))
"""Of a raw row: column → what was delivered there that the column cannot hold; null where there is nothing of the kind."""
Task = Literal["regression", "binary"]
Kind = Literal["number", "category"]
Split = Literal["time", "entity"]


@dataclass(frozen=True)
class Batch:
    """One batch of one table as its source hands it over: the unit in which ingest reads, and reads again.

    `digest` changes whenever what `read` reads changes (files, options, the period), and is cheap; the loader's code and the
    use case's are no part of it, because ingest sees to them. `files` are all that the digest follows from beside options and
    period: none where code makes the rows, None where it follows from anything else: only the loader can tell. `read`
    returns the batch in the table's canonical schema, with a note for every column that was cast, filled or dropped on the way.
    A value that its column cannot hold is null there and kept in the column UNREADABLE, which `ratchet.sources.unreadable`
    adds: its row is quarantined. `count` says how many rows the source holds, from anything but what `read` makes of it; None
    where the loader makes the rows itself.
    """

    table: str
    name: str
    digest: str
    read: Callable[[], tuple[pa.Table, list[str]]]
    count: Callable[[], int] | None = None
    files: Sequence[Path] | None = None


@dataclass(frozen=True)
class Unread:
    """Something that lies where batches are looked for, and is not read: ingest's report names it, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Rule:
    """An expectation that Great Expectations ships, by its name there without `expect_`, and its arguments."""

    expectation: str
    arguments: Mapping[str, Any]


def expect(expectation: str, **arguments: Any) -> Rule:
    """`expect("column_values_to_be_between", column="amount", min_value=0)`"""
    return Rule(expectation, arguments)


Loader = Callable[["str", Mapping[str, Any], Period], "Iterable[Batch | Unread]"]
"""(path, options, period) → the batches that may hold rows of the period, and what is not read. Raises SourceError."""


@dataclass(frozen=True)
class SourceTable:
    """A kind of raw row.

    `event_time` is the instant that a row is about (accepted rows are partitioned by its UTC date) and `known_at` the
    instant from which we knew all of it. `early` names the columns known from `event_time` on; every other column counts as
    unknown until `known_at`. A reference table has neither instant: it is small, and was always known.
    `rules` maps a reason to what is expected of a row; one that breaks it is quarantined for that reason.
    Ingest adds ROW_ID, which names the batch and the place in it, to every table.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    event_time: str | None = None
    known_at: str | None = None
    early: tuple[str, ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict, hash=False)

    @property
    def is_reference(self) -> bool:
        return self.event_time is None

    @property
    def stored_schema(self) -> pa.Schema:
        """The schema with the row's identity in front, as accepted tables have it."""
        return self.schema.insert(0, pa.field(ROW_ID, pa.string()))

    @property
    def raw_schema(self) -> pa.Schema:
        """The schema of raw tables."""
        return self.stored_schema.append(UNREADABLE)


@dataclass(frozen=True)
class View:
    """Features of one entity.

    `compute` maps accepted source tables to a table of `keys` (integers or strings), `event_timestamp` (whole seconds; one row
    for a key at a time) and the features (numbers, booleans or strings). Every row may use only source rows whose `known_at`
    is strictly before its `event_timestamp` (`ratchet.use_case.windows.just_after` is the first such second) and whose
    `event_time` is at most `lookback` before it (None: all of history). Sums are of integers: those of floats depend on
    threads. A request gets the last row that is not later than itself, and nothing of one that is older than `max_age`, in
    training and in serving.
    """

    name: str
    keys: tuple[str, ...]
    compute: Callable[[Tables], ibis.Table]
    lookback: timedelta | None
    max_age: timedelta | None


@dataclass(frozen=True)
class Lookup:
    """How a request finds its row in a view: view key → request column. Columns are named `{name}__{feature}`."""

    view: str
    keys: Mapping[str, str]
    name: str = ""

    @property
    def prefix(self) -> str:
        return self.name or self.view


Postprocess = Callable[[Columns, Array], Array]
"""(columns of requests, the model's numbers) → predictions, of the same shape."""


def _no_columns(_columns: Columns) -> Columns:
    return {}


def as_it_is(_columns: Columns, predictions: Array) -> Array:
    """The model's numbers are the predictions."""
    return predictions


@dataclass(frozen=True, eq=False)
class UseCase:
    """One prediction problem; equal only to itself, so that what follows from it is computed once.

    `examples` maps accepted tables to a table of `request_id` (unique), the fields of `request`, `event_timestamp` (when the
    prediction is asked for), `label` (null where unknown) and `label_known_at`. A request follows from source rows of its UTC
    date or of those beside it; its label may also look at rows up to `horizon` later. `constants` are columns equal on every
    request. `on_demand` adds columns to requests joined with their features, and `postprocess` makes predictions of the
    model's numbers; both are the same function in training, batch and online, in a module that imports little
    (`ratchet.features.function_fingerprint`). `inputs` are the model's columns in order.
    `baseline` is the back-off order: groups of columns, coarser and coarser, ending in (). `split` is "entity" where nothing
    says when rows were known, and timestamps are only a hash of an entity: the gate record says so.
    """

    name: str
    task: Task
    timezone: str
    label: str
    unit: str
    tables: tuple[SourceTable, ...]
    sources: Mapping[str, Loader]
    views: tuple[View, ...]
    lookups: tuple[Lookup, ...]
    request: type[BaseModel]
    event_timestamp: str
    examples: Callable[[Tables], ibis.Table]
    inputs: Mapping[str, Kind]
    baseline: tuple[tuple[str, ...], ...]
    horizon: timedelta = timedelta(0)
    on_demand: Callable[[Columns], Columns] = _no_columns
    postprocess: Postprocess = as_it_is
    constants: Mapping[str, str | int] = field(default_factory=dict)
    split: Split = "time"

    def table(self, name: str) -> SourceTable:
        return next(table for table in self.tables if table.name == name)

    def view(self, name: str) -> View:
        return next(view for view in self.views if view.name == name)

    def request_fields(self) -> list[str]:
        """The request's columns as stored: its fields, with the timestamp it is about last, as `event_timestamp`."""
        return [name for name in self.request.model_fields if name != self.event_timestamp]

    def complete(self, columns: Columns) -> dict[str, Array]:
        """Requests joined with their features, and the on-demand columns."""
        return {**columns, **self.on_demand(columns)}

    def with_constants(self, columns: Columns) -> dict[str, Array]:
        """Requests with the constant columns added."""
        rows = len(columns["event_timestamp"])
        return {**columns, **{name: np.full(rows, value) for name, value in self.constants.items()}}


def use_case_module(name: str) -> str:
    """The module that declares a use case: `use_cases.{name}`, or any when `name` is dotted."""
    return name if "." in name else f"use_cases.{name}"


def load_use_case(name: str) -> UseCase:
    """The use case of that name. Raises SettingsError."""
    module = use_case_module(name)
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise SettingsError(
            f"there is no module {module}",
            subject=f"use_case {name!r}",
            remedy="Name a folder of use_cases/ in params.yaml",
        ) from error
    found = getattr(imported, "use_case", None)
    if not isinstance(found, UseCase):
        raise SettingsError(
            f"{module} declares no `use_case`",
            subject=f"use_case {name!r}",
            remedy="Give the folder's __init__.py a `use_case = UseCase(...)`",
        )
    if found.name != name.rpartition(".")[2]:
        raise SettingsError(
            f"the `use_case` of {module} is named {found.name!r}",
            subject=f"use_case {name!r}",
            remedy="Give it the name of its folder: data, models and reports are kept by it",
        )
    return found
