"""How a use case's views and lookups are stored online. Whoever has this needs neither Feast nor the use case to read them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ratchet.feature_store.online_features import StoredLookup, micros
from ratchet.feature_store.stored_rows import KeyKind, StoredView
from ratchet.features.service import ServiceSpec, service_spec
from ratchet.use_case.contract import Lookup, UseCase, View


def stored_views(use_case: UseCase) -> list[StoredView]:
    """The views that lookups use."""
    spec = service_spec(use_case)
    return [_stored_view(use_case.view(name), spec) for name in _used(use_case)]


def stored_lookups(use_case: UseCase) -> list[StoredLookup]:
    """The lookups, with the places of their views among `stored_views`."""
    places = {name: place for place, name in enumerate(_used(use_case))}
    return [_stored_lookup(lookup, use_case.view(lookup.view), places[lookup.view]) for lookup in use_case.lookups]


def _used(use_case: UseCase) -> Sequence[str]:
    used = {lookup.view for lookup in use_case.lookups}
    return [view.name for view in use_case.views if view.name in used]


def _stored_view(view: View, spec: ServiceSpec) -> StoredView:
    schema, features = spec.schemas[view.name], spec.features[view.name]
    return StoredView(
        name=spec.views[view.name],
        keys={key: _key_kind(schema.field(key).type) for key in view.keys},
        features=features,
        texts=frozenset(name for name in features if pa.types.is_string(schema.field(name).type)),
        max_age_micros=view.max_age and micros(view.max_age),
    )


def _key_kind(kind: pa.DataType) -> KeyKind:
    return "string" if pa.types.is_string(kind) else "int64"


def _stored_lookup(lookup: Lookup, view: View, place: int) -> StoredLookup:
    return StoredLookup(prefix=lookup.prefix, view=place, columns=tuple(lookup.keys[key] for key in view.keys))
