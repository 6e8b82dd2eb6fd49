"""The contract: everything that a use case declares. The pipelines know nothing else about it.

A use case is a folder with a `use_case` object. The pipelines derive the tables and their partitions, the Feast objects, the
training set, the gate, the service's request schema and the monitoring from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from ratchet.core.errors import SettingsError
from ratchet.use_case.batch import Loader
from ratchet.use_case.columns import (
    ARRIVED_AT,
    AVAILABLE_AT,
    EARLY_AVAILABLE_AT,
    EARLY_LATE_AT,
    KNOWN_SEEN_AT,
    LATE_AT,
    SEEN_AT,
)

if TYPE_CHECKING:
    import ibis

    from ratchet.use_case.upstream import Upstream

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
"""Columns of equal length, in one order of rows: one row online, millions in training."""
Tables = Mapping[str, "ibis.Table"]
INSTANT = pa.timestamp("us", "UTC")
"""How every stored timestamp is kept."""
ROW_ID = "row_id"
"""`{batch}:{row number in the batch}`: the place of a raw or quarantined row in what was delivered."""
ROW_KEY = "row_key"
"""A digest of the table's key: the identity of an accepted row, which stays the same when the row is delivered again."""
UNREADABLE = pa.field("unreadable", pa.map_(pa.string(), pa.string()))
"""A column of raw tables: column → the delivered text that this column cannot hold; null if the whole row is readable."""
Task = Literal["regression", "binary"]
Kind = Literal["number", "category"]
Split = Literal["time", "entity"]


@dataclass(frozen=True)
class Rule:
    """An expectation of Great Expectations: its name there without `expect_`, and its arguments."""

    expectation: str
    arguments: Mapping[str, Any]


def expect(expectation: str, **arguments: Any) -> Rule:
    """`expect("column_values_to_be_between", column="amount", min_value=0)`"""
    return Rule(expectation, arguments)


@dataclass(frozen=True)
class SourceTable:
    """A table of raw rows.

    `event_time` names the column with the instant that a row is about; accepted rows are partitioned by its UTC date.
    `known_at` names the column with the instant from which the whole row was known. `early` names the columns that were known
    from `event_time` on; every other column counts as unknown until `known_at`. A reference table has neither instant: it is
    small, and was always known. `rules` maps a reason to an expectation; a row that breaks it is quarantined for that reason.
    `key` names the columns that identify a row; of several rows with one key, the first is accepted. A row that is a request
    should be identified by what is known at the request. Accepted rows also have ROW_KEY, a digest of the key, and, unless the
    table is a reference table, ARRIVED_AT and AVAILABLE_AT; those of a table with `early` columns have EARLY_AVAILABLE_AT, too.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    event_time: str | None = None
    known_at: str | None = None
    early: tuple[str, ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        arrival = {ARRIVED_AT, AVAILABLE_AT, EARLY_AVAILABLE_AT, LATE_AT, EARLY_LATE_AT, SEEN_AT, KNOWN_SEEN_AT}
        reserved = {ROW_ID, ROW_KEY, *arrival, UNREADABLE.name}
        if taken := sorted(reserved.intersection(self.schema.names)):
            remedy = "Rename it in the schema and in the loader: stored tables use that name"
            raise SettingsError(f"has a column {', '.join(taken)}", subject=f"table {self.name!r}", remedy=remedy)

    @property
    def is_reference(self) -> bool:
        return self.event_time is None

    @property
    def arrival_schema(self) -> pa.Schema:
        """The columns that say from when on an accepted row may be used."""
        names = () if self.is_reference else (ARRIVED_AT, AVAILABLE_AT, *((EARLY_AVAILABLE_AT,) if self.early else ()))
        return pa.schema([(name, INSTANT) for name in names])

    @property
    def late_columns(self) -> tuple[str, ...]:
        """The columns that say when a raw row came that was not there in time; the last one, when the first of it was there."""
        return (LATE_AT, EARLY_LATE_AT) if self.early else (LATE_AT,)

    @property
    def seen_columns(self) -> tuple[str, ...]:
        """The columns that say as of which instants a raw row, and what is known of it later, was first there."""
        return (SEEN_AT, KNOWN_SEEN_AT) if self.known_at else (SEEN_AT,)

    @property
    def accepted_schema(self) -> pa.Schema:
        """The schema of accepted tables: the row's identity, its columns, and from when on it may be used."""
        return pa.schema([(ROW_KEY, pa.string()), *self.schema, *self.arrival_schema])

    @property
    def delivered_schema(self) -> pa.Schema:
        """The schema of readable raw rows: the row's place, its columns, and those that say when it came."""
        came = [(name, INSTANT) for name in (*self.late_columns, *self.seen_columns)]
        return pa.schema([(ROW_ID, pa.string()), *self.schema, *came])

    @property
    def raw_schema(self) -> pa.Schema:
        """The schema of raw tables."""
        return self.delivered_schema.append(UNREADABLE)


@dataclass(frozen=True)
class View:
    """Features of one entity.

    `compute` maps accepted source tables to a table of `keys` (integers or strings), `event_timestamp` (whole seconds; one row
    for a key at a time) and the features (numbers, booleans or strings). Every row may use only source rows whose AVAILABLE_AT
    (of early columns: EARLY_AVAILABLE_AT) is not later than its `event_timestamp`, and whose `event_time`, or AVAILABLE_AT if
    they came late, is at most `lookback` (None: all of history), and the lag of their source and the wait for the next run,
    before it. Sum only integers: sums of floats depend on the number of threads. In training and serving, a request gets the
    last row that is not later than itself, and none if that is older than `max_age`. `tile` and `delay` are set by `trailing`
    alone, and `upstream` by that function. `delay` is a table and the longest time until a row of it is usually known: a row
    that takes longer is kept for the days on which it counts, too.
    """

    name: str
    keys: tuple[str, ...]
    compute: Callable[[Tables], ibis.Table]
    lookback: timedelta | None
    max_age: timedelta | None
    tile: timedelta | None = None
    delay: tuple[str, timedelta] | None = None
    upstream: Upstream | None = None


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
    """Return the model's numbers unchanged."""
    return predictions


@dataclass(frozen=True, eq=False)
class UseCase:
    """One prediction problem. It is equal only to itself, so that everything derived from it is computed once.

    `examples` maps accepted tables to a table of `request_id` (unique), the fields of `request`, `event_timestamp` (when the
    prediction is asked for), `label` (null if unknown) and `label_known_at`, which is not before ARRIVED_AT of the rows that
    it follows from. A request may use source rows of its own UTC date and of the dates before and after it; its label may also
    use rows up to `horizon` later. `constants` are columns with the same value in every request. `on_demand` adds columns to
    requests joined with their features, which it gets as a mapping that is no dict and cannot be changed; `postprocess` turns
    the model's numbers into predictions. Training, batch and online call the same two functions, in modules that import little
    (`ratchet.features.on_demand`). `inputs` are the model's columns in order. `baseline` is the back-off order: groups of
    columns from fine to coarse, ending in (). `split` is "entity" if timestamps are only a hash of an entity and do not say
    when rows were known; the gate record then says so.
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

    def delay(self, table: str) -> timedelta | None:
        """The longest time until a row of a table is usually known, by the view with the shortest; None if none says it."""
        delays = (view.delay for view in self.views if view.delay)
        return min((delay for name, delay in delays if name == table), default=None)

    def view(self, name: str) -> View:
        return next(view for view in self.views if view.name == name)

    def request_fields(self) -> list[str]:
        """The request's fields as stored, without its timestamp, which is stored as `event_timestamp`."""
        return [name for name in self.request.model_fields if name != self.event_timestamp]

    def complete(self, columns: Columns) -> dict[str, Array]:
        """Requests joined with their features, and the on-demand columns.

        `on_demand` gets no dict, as online, where only the columns are made that it reads: it may do the same everywhere.
        """
        return {**columns, **self.on_demand(MappingProxyType(columns))}

    def with_constants(self, columns: Columns) -> dict[str, Array]:
        """Requests with the constant columns added."""
        rows = len(columns["event_timestamp"])
        return {**columns, **{name: np.full(rows, value) for name, value in self.constants.items()}}


def use_case_module(name: str) -> str:
    """The module that declares a use case: `use_cases.{name}`, or `name` itself if it has a dot."""
    return name if "." in name else f"use_cases.{name}"


def load_use_case(name: str) -> UseCase:
    """The use case of that name. Raises SettingsError if its folder is absent or does not declare it."""
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
            remedy="Give it the name of its folder: data, models and reports are kept under that name",
        )
    return found
