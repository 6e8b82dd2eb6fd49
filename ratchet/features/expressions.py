"""The expressions that compute views, requests and labels from source tables, compiled once and run by table name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError
from ratchet.use_case.arrival import Delivery
from ratchet.use_case.columns import EVENT_TIMESTAMP, LABEL_COLUMNS, REQUEST_ID, UPCOMING
from ratchet.use_case.contract import Tables, UseCase, View

if TYPE_CHECKING:
    import ibis
    from ibis.expr.operations import Node

MARGIN = timedelta(days=1)
"""An example, or a view's row, may use source rows of the day before and after (a view: in addition to its lookback)."""


@dataclass(frozen=True)
class CompiledExpression:
    """An expression on unbound source tables. Its rows use source rows from `lookback` before (None: any) to `lookahead`
    after their own dates. A source row that came late has two dates (`ratchet.storage.partitions.files`)."""

    expression: ibis.Table
    lookback: timedelta | None = timedelta(0)
    lookahead: timedelta = timedelta(0)

    @property
    def sql(self) -> str:
        return _sql(self.expression.op())

    @cached_property
    def schema(self) -> pa.Schema:
        return self.expression.schema().to_pyarrow()

    @cached_property
    def reads(self) -> list[str]:
        """The source tables that it reads."""
        from ibis.expr.operations import UnboundTable

        return sorted({table.name for table in self.expression.op().find(UnboundTable)})

    def source_dates(self, first: date, last: date) -> tuple[date | None, date]:
        """First and last date of the source rows that rows of the dates `first` to `last` depend on; None: no first date."""
        youngest = last + self.lookahead + MARGIN
        if self.lookback is None or self.lookback + MARGIN > first - date.min:
            return None, youngest
        return first - self.lookback - MARGIN, youngest

    def using(self, sources: Period, computed: Period) -> Period | None:
        """The part of `computed` whose rows may use source rows of a period; None if none does."""
        start = max(sources.start - self.lookahead, computed.start)
        end = computed.end if self.lookback is None else min(sources.end + self.lookback, computed.end)
        return Period(start, end) if start < end else None


@lru_cache(maxsize=256)
def _sql(operation: Node) -> str:
    """The SQL of an expression, cached: generating it takes as long as running it."""
    import ibis

    return str(ibis.to_sql(operation.to_expr(), dialect="duckdb"))


@lru_cache(maxsize=64)
def compile_view(use_case: UseCase, view: View) -> CompiledExpression:
    """A view: its keys, event_timestamp (UTC) and features. Raises SettingsError if `compute` returns anything else."""
    subject = f"view {view.name!r}"
    computed = view.compute(_unbound(use_case))
    _require(computed, (*view.keys, EVENT_TIMESTAMP), subject)
    features = [name for name in computed.columns if name not in {*view.keys, EVENT_TIMESTAMP}]
    if UPCOMING in features:
        raise SettingsError(
            f"has a column {UPCOMING}", subject=subject, remedy="Rename it: the online store uses that name"
        )
    expression = _canonical(computed.select(*view.keys, EVENT_TIMESTAMP, *features), subject)
    for name in (*view.keys, *features):
        _check_kept_online(expression[name], name in view.keys, f"{subject}, column {name!r}")
    return CompiledExpression(expression, view.lookback)


def compile_delivered_view(use_case: UseCase, view: View, delivery: Callable[[str], Delivery]) -> CompiledExpression:
    """A view with a lookback that is longer by as much as the rows of its sources may count later than they are known.
    `delivery` says how the rows of a table are delivered.

    A view made by `trailing` has its own lookback: what counts later leaves a window no later.
    """
    compiled = compile_view(use_case, view)
    if compiled.lookback is None or view.tile:
        return compiled
    longest = max((delivery(name).longest for name in compiled.reads), default=timedelta(0))
    return replace(compiled, lookback=compiled.lookback + longest)


@lru_cache(maxsize=64)
def compile_requests(use_case: UseCase) -> CompiledExpression:
    """The examples' requests: request_id, the request's fields, the constants, event_timestamp."""
    import ibis

    examples = _examples(use_case)
    constants = {name: ibis.literal(value) for name, value in use_case.constants.items()}
    columns = examples.select(REQUEST_ID, *use_case.request_fields(), EVENT_TIMESTAMP).mutate(**constants)
    return CompiledExpression(_canonical(columns.relocate(EVENT_TIMESTAMP, after=columns.columns[-1]), "examples"))


@lru_cache(maxsize=64)
def compile_labels(use_case: UseCase) -> CompiledExpression:
    """The labels of the examples that have one: request_id, event_timestamp, label, label_known_at."""
    columns = _canonical(_examples(use_case).select(REQUEST_ID, EVENT_TIMESTAMP, *LABEL_COLUMNS), "examples")
    return CompiledExpression(columns.filter(columns["label"].notnull()), lookahead=use_case.horizon)


def _examples(use_case: UseCase) -> ibis.Table:
    examples = use_case.examples(_unbound(use_case))
    _require(examples, (REQUEST_ID, *use_case.request_fields(), EVENT_TIMESTAMP, *LABEL_COLUMNS), "examples")
    return examples


def _unbound(use_case: UseCase) -> Tables:
    import ibis

    schemas = {table.name: ibis.Schema.from_pyarrow(table.accepted_schema) for table in use_case.tables}
    return {name: ibis.table(schema, name=name) for name, schema in schemas.items()}


def _require(table: ibis.Table, columns: tuple[str, ...], subject: str) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise SettingsError(f"lacks {', '.join(missing)}", subject=subject, remedy="Let its function return them")


def _canonical(table: ibis.Table, subject: str) -> ibis.Table:
    """The table with integers as int64, other numbers as float64, and instants in UTC with microseconds."""
    return table.select(**{name: table[name].cast(_kept_as(table[name].type(), subject)) for name in table.columns})


def _kept_as(kind: Any, subject: str) -> str:
    if kind.is_integer():
        return "int64"
    if kind.is_floating() or kind.is_decimal():
        return "float64"
    if kind.is_timestamp():
        return "timestamp('UTC', 6)"
    if kind.is_boolean() or kind.is_string():
        return str(kind)
    raise SettingsError(f"has a column of type {kind}", subject=subject, remedy="Cast it to a type that can be stored")


def _check_kept_online(column: ibis.Value, is_key: bool, subject: str) -> None:
    """Online stores accept only integers and strings as keys, and cannot keep an instant exactly."""
    kind = column.type()
    if kind.is_timestamp() or (is_key and not (kind.is_integer() or kind.is_string())):
        raise SettingsError(f"is a {kind}", subject=subject, remedy="Cast it: online stores cannot keep it as it is")
