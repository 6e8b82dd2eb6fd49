"""A model's contract with the feature store: names, and a fingerprint of everything that decides its features. No Feast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import pyarrow as pa

from ratchet.core.errors import SettingsError
from ratchet.features.expressions import CompiledExpression, compile_labels, compile_requests, compile_view
from ratchet.features.on_demand import function_fingerprint
from ratchet.storage.digests import digest
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import Kind, Lookup, UseCase, View


@dataclass(frozen=True)
class ServiceSpec:
    """The feature service of a use case.

    `views` maps a view's name to its versioned name `{view}_{8 hex}`, which changes with its expression. `schemas` maps it to
    the columns of the view's table: keys, event_timestamp, features. `inputs` are the model's columns, in order.
    """

    name: str
    fingerprint: str
    views: Mapping[str, str]
    schemas: Mapping[str, pa.Schema]
    features: Mapping[str, tuple[str, ...]]
    inputs: dict[str, Kind]


@lru_cache(maxsize=8)
def service_spec(use_case: UseCase) -> ServiceSpec:
    """Compile a use case's views. Raises SettingsError if its declaration contradicts itself."""
    for lookup in use_case.lookups:
        _check_lookup(use_case, lookup)
    derived = {view.name: compile_view(use_case, view) for view in use_case.views}
    _check_keys(use_case, derived)
    views = {view.name: f"{view.name}_{_version(view, derived[view.name])[:8]}" for view in use_case.views}
    fingerprint = digest(
        list(use_case.inputs.items()),
        [(lookup.prefix, views[lookup.view], sorted(lookup.keys.items())) for lookup in use_case.lookups],
        _columns(request_schema(use_case)),
        dict(use_case.constants),
        *(function_fingerprint(name, getattr(use_case, name)) for name in ("on_demand", "postprocess")),
    )
    return ServiceSpec(
        name=f"{use_case.name}_{fingerprint[:8]}",
        fingerprint=fingerprint,
        views=views,
        schemas={name: compiled.schema for name, compiled in derived.items()},
        features={view.name: _features(view, derived[view.name].schema) for view in use_case.views},
        inputs=dict(use_case.inputs),
    )


def request_schema(use_case: UseCase) -> pa.Schema:
    """Columns of a stored request: request_id, the request's fields, the constants, event_timestamp."""
    return compile_requests(use_case).schema


def label_schema(use_case: UseCase) -> pa.Schema:
    """Columns of a stored label: request_id, event_timestamp, label, label_known_at."""
    return compile_labels(use_case).schema


def _version(view: View, compiled: CompiledExpression) -> str:
    times = (view.upstream.event_time, view.upstream.available_at) if view.upstream else ()
    ages = (_seconds(view.lookback), _seconds(view.max_age))
    return digest(view.keys, _columns(compiled.schema), compiled.sql, *ages, *times)


def _columns(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in schema]


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _features(view: View, schema: pa.Schema) -> tuple[str, ...]:
    return tuple(name for name in schema.names if name not in {*view.keys, EVENT_TIMESTAMP})


def _check_lookup(use_case: UseCase, lookup: Lookup) -> None:
    subject = f"lookup {lookup.prefix!r}"
    view = next((view for view in use_case.views if view.name == lookup.view), None)
    if view is None:
        raise SettingsError(f"there is no view {lookup.view!r}", subject=subject, remedy="Name one of `views`")
    if set(view.keys) != set(lookup.keys):
        raise SettingsError(
            f"maps {', '.join(lookup.keys)}, but the keys of {view.name} are {', '.join(view.keys)}",
            subject=subject,
            remedy="Map each key of the view to a column of the request",
        )
    columns = [*use_case.request_fields(), *use_case.constants]
    unknown = sorted(set(lookup.keys.values()) - set(columns))
    if unknown:
        raise SettingsError(
            f"a request has no column {', '.join(unknown)}", subject=subject, remedy=f"Use {', '.join(columns)}"
        )


def _check_keys(use_case: UseCase, derived: Mapping[str, CompiledExpression]) -> None:
    """Feast identifies a key by its name. So a key needs one type, and no other column of the request may have its name."""
    kinds: dict[str, pa.DataType] = {}
    for view in use_case.views:
        for key in view.keys:
            kind = derived[view.name].schema.field(key).type
            if kinds.setdefault(key, kind) != kind:
                raise SettingsError(
                    f"is a {kind} here and a {kinds[key]} elsewhere",
                    subject=f"view {view.name!r}, key {key!r}",
                    remedy="Give it one type, or two names",
                )
    columns = {column for lookup in use_case.lookups for column in lookup.keys.values()}
    for lookup in use_case.lookups:
        hidden = [key for key, column in lookup.keys.items() if key != column and key in columns]
        if hidden:
            raise SettingsError(
                f"{', '.join(hidden)} is a key of the view and another column of the request",
                subject=f"lookup {lookup.prefix!r}",
                remedy="Give the view's key a name of its own",
            )
