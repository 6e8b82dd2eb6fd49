"""What a model's features are: a use case's expressions, compiled, named and fingerprinted. Needs no Feast."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ratchet.errors import SettingsError
from ratchet.tables import digest
from ratchet.use_case import Kind, Lookup, Tables, UseCase, View

if TYPE_CHECKING:
    import ibis

EVENT_TIMESTAMP = "event_timestamp"
REQUEST_ID = "request_id"
LABEL_COLUMNS = ("label", "label_known_at")


@dataclass(frozen=True)
class ServiceSpec:
    """The feature service of a use case: a model's contract.

    `views` maps a view's name to its versioned name, `{view}_{8 hex}`, which changes with its expression; `schemas` a
    view's name to the columns of its table: keys, event_timestamp, features. `inputs` are the model's columns, in order.
    """

    name: str
    fingerprint: str
    views: Mapping[str, str]
    schemas: Mapping[str, pa.Schema]
    features: Mapping[str, tuple[str, ...]]
    inputs: dict[str, Kind]


def service_spec(use_case: UseCase) -> ServiceSpec:
    """Compile a use case's views. Raises SettingsError where a declaration contradicts itself."""
    for lookup in use_case.lookups:
        _check_lookup(use_case, lookup)
    expressions = {view.name: view_expression(use_case, view) for view in use_case.views}
    views = {view.name: f"{view.name}_{digest(_describe(view, expressions[view.name]))[:8]}" for view in use_case.views}
    schemas = {name: expression.schema().to_pyarrow() for name, expression in expressions.items()}
    fingerprint = digest(
        list(use_case.inputs.items()),
        [(lookup.prefix, views[lookup.view], sorted(lookup.keys.items())) for lookup in use_case.lookups],
        _fields(request_schema(use_case)),
        dict(use_case.constants),
        list(_sources(use_case.on_demand, {})),
    )
    return ServiceSpec(
        name=f"{use_case.name}_{fingerprint[:8]}",
        fingerprint=fingerprint,
        views=views,
        schemas=schemas,
        features={view.name: _features(view, schemas[view.name]) for view in use_case.views},
        inputs=dict(use_case.inputs),
    )


def request_schema(use_case: UseCase) -> pa.Schema:
    """Columns of a stored request: request_id, the request's fields, the constants, event_timestamp."""
    return request_expression(use_case).schema().to_pyarrow()


def label_schema(use_case: UseCase) -> pa.Schema:
    """Columns of a stored label: request_id, event_timestamp, label, label_known_at."""
    return label_expression(use_case).schema().to_pyarrow()


def view_expression(use_case: UseCase, view: View) -> ibis.Table:
    """A view on unbound tables: its keys, event_timestamp (UTC) and features, in the types that the store keeps."""
    computed = view.compute(_unbound(use_case))
    subject = f"view {view.name!r}"
    _require(computed, (*view.keys, EVENT_TIMESTAMP), subject)
    features = [name for name in computed.columns if name not in {*view.keys, EVENT_TIMESTAMP}]
    return _canonical(computed.select(*view.keys, EVENT_TIMESTAMP, *features), subject)


def request_expression(use_case: UseCase) -> ibis.Table:
    """The request part of the examples on unbound tables, with the constants."""
    import ibis

    examples = _examples(use_case)
    constants = {name: ibis.literal(value) for name, value in use_case.constants.items()}
    return _canonical(
        examples.select(REQUEST_ID, *use_case.request_fields(), **constants, event_timestamp=examples[EVENT_TIMESTAMP]),
        "examples",
    )


def label_expression(use_case: UseCase) -> ibis.Table:
    """The label part of the examples on unbound tables: request_id, event_timestamp, label, label_known_at."""
    return _canonical(_examples(use_case).select(REQUEST_ID, EVENT_TIMESTAMP, *LABEL_COLUMNS), "examples")


def tables_read(expression: ibis.Table) -> list[str]:
    """The source tables that an expression on unbound tables reads."""
    from ibis.expr.operations import UnboundTable

    return sorted({table.name for table in expression.op().find(UnboundTable)})


def _examples(use_case: UseCase) -> ibis.Table:
    examples = use_case.examples(_unbound(use_case))
    _require(examples, (REQUEST_ID, *use_case.request_fields(), EVENT_TIMESTAMP, *LABEL_COLUMNS), "examples")
    return examples


def _unbound(use_case: UseCase) -> Tables:
    import ibis

    return {
        table.name: ibis.table(ibis.Schema.from_pyarrow(table.stored_schema), name=table.name)
        for table in use_case.tables
    }


def _require(table: ibis.Table, columns: tuple[str, ...], subject: str) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise SettingsError(f"lacks {', '.join(missing)}", subject=subject, remedy="Let its function return them")


def _canonical(table: ibis.Table, subject: str) -> ibis.Table:
    """Integers as int64, other numbers as float64, instants in UTC with microseconds."""
    return table.select(**{name: table[name].cast(_kept_as(table[name].type(), subject)) for name in table.columns})


def _kept_as(kind: Any, subject: str) -> str:
    if kind.is_integer():
        return "int64"
    if kind.is_numeric() and not kind.is_boolean():
        return "float64"
    if kind.is_timestamp():
        return "timestamp('UTC', 6)"
    if kind.is_boolean() or kind.is_string():
        return str(kind)
    raise SettingsError(
        f"has a column of type {kind}",
        subject=subject,
        remedy="Cast it to a number, a string, a boolean or a timestamp",
    )


def _features(view: View, schema: pa.Schema) -> tuple[str, ...]:
    return tuple(name for name in schema.names if name not in {*view.keys, EVENT_TIMESTAMP})


def _describe(view: View, expression: ibis.Table) -> dict[str, object]:
    import ibis

    return {
        "keys": view.keys,
        "schema": _fields(expression.schema().to_pyarrow()),
        "sql": ibis.to_sql(expression, dialect="duckdb"),
        "lookback": _seconds(view.lookback),
        "max_age": _seconds(view.max_age),
    }


def _fields(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in schema]


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _sources(function: Any, seen: dict[str, None]) -> Iterator[str]:
    """The source of a function and of what it uses of its own package: functions by source, plain constants by value."""
    seen[function.__qualname__] = None
    yield inspect.getsource(function)
    for name, value in sorted(inspect.getclosurevars(function).globals.items()):
        if isinstance(value, str | int | float | tuple):
            yield f"{name} = {value!r}"
        elif inspect.isfunction(value) and _package(value) == _package(function) and value.__qualname__ not in seen:
            yield from _sources(value, seen)


def _package(function: Any) -> str:
    return str(function.__module__).partition(".")[0]


def _check_lookup(use_case: UseCase, lookup: Lookup) -> None:
    subject = f"lookup {lookup.prefix!r}"
    view = next((view for view in use_case.views if view.name == lookup.view), None)
    if view is None:
        raise SettingsError(f"there is no view {lookup.view!r}", subject=subject, remedy="Name one of `views`")
    if set(view.keys) != set(lookup.keys):
        raise SettingsError(
            f"maps {', '.join(lookup.keys)}, but the keys of {view.name} are {', '.join(view.keys)}",
            subject=subject,
            remedy="Map each key of the view to a request column",
        )
    known = {*use_case.request_fields(), *use_case.constants}
    unknown = sorted(set(lookup.keys.values()) - known)
    if unknown:
        raise SettingsError(
            f"a request has no column {', '.join(unknown)}", subject=subject, remedy=f"Use one of {', '.join(known)}"
        )
