"""What Feast itself reads from the online store, in the columns that `offline_reads.historical` adds; and why some are absent.

It is slow, and what the service reads must be equal to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store.definitions import databases, feature_service, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.upcoming_rows import bring_forward
from ratchet.features.service import (
    service_spec,
)
from ratchet.use_case.columns import EVENT_TIMESTAMP, UPCOMING
from ratchet.use_case.contract import Array, Columns, Lookup

_NEVER = np.datetime64(0, "us")
"""The event timestamp that Feast returns for a key that it does not find."""


ABSENCES = ("no key", "missing", "stale", "newer")
"""Why a lookup finds no features: the request has no key; the store holds no row of the key, or only one that is older than the
view's max_age, or only one that is newer than the request."""


class Found(NamedTuple):
    """The features of requests, in the columns that `historical` adds, and for each lookup why it found none (or None)."""

    columns: dict[str, Array]
    absences: dict[str, Array]


class FeastFeatures:
    """The online store, held open. It gives the same columns that `historical` adds, as of now."""

    def __init__(self, features: FeatureStore) -> None:
        self._use_case = features.use_case
        self._spec = service_spec(features.use_case)
        self._store = open_store(features)
        self._online = features.online
        with databases(features):
            self._online.attach(self._store)
        self._service = feature_service(self._store, self._spec)

    def read(self, requests: Columns) -> Found:
        """Features of requests, whose columns include the constants.

        Each request gets the row that holds at its event_timestamp, and no values if that row is older than the view's max_age.
        This is what the point-in-time join finds if nothing new became known since the store was written. Raises StoreError if
        the online store cannot be read.
        """
        if not self._use_case.lookups:
            return Found({}, {})
        keys = self._keys(requests)
        try:
            found = self._store.get_online_features(self._service, _filled(keys), full_feature_names=True)
        except self._online.errors as error:
            raise StoreUnavailableError(
                f"cannot be read ({error})", subject="online store", remedy="Run `ratchet stage materialize`"
            ) from error
        values = found.to_dict(include_event_timestamps=True)
        found = Found({}, {})
        for lookup in self._use_case.lookups:
            columns, absence = self._looked_up(lookup, keys, values, requests[EVENT_TIMESTAMP])
            found.columns.update(columns)
            found.absences[lookup.prefix] = absence
        return found

    def _keys(self, requests: Columns) -> dict[str, pa.Array]:
        """The request columns that lookups use, in the types of the views' keys."""
        return {
            column: _typed(requests[column], self._spec.schemas[lookup.view].field(key).type)
            for lookup in self._use_case.lookups
            for key, column in lookup.keys.items()
        }

    def _looked_up(
        self, lookup: Lookup, keys: Mapping[str, pa.Array], values: Mapping[str, list[Any]], timestamps: Array
    ) -> tuple[dict[str, Array], Array]:
        schema, names = self._spec.schemas[lookup.view], self._spec.features[lookup.view]
        features = {name: list(values[f"{lookup.prefix}__{name}"]) for name in names}
        since = np.array(values[f"{lookup.prefix}__{names[0]}__ts"], "datetime64[s]")
        bring_forward(features, since, values[f"{lookup.prefix}__{UPCOMING}"], timestamps)
        held = since.astype("datetime64[us]")
        has_no_key = np.logical_or.reduce([_is_null(keys[column]) for column in lookup.keys.values()])
        absence = _absence(has_no_key, held, timestamps, self._use_case.view(lookup.view).max_age)
        absent = absence != None  # noqa: E711 # element by element
        columns: dict[str, Array] = {
            f"{lookup.prefix}__{name}": np.array(found, _kept_as(schema.field(name).type))
            for name, found in features.items()
        }
        for each in columns.values():
            each[absent] = None  # NaN among numbers
        since_when = np.where(absent, np.datetime64("NaT", "us"), held)
        return {**columns, f"{lookup.prefix}__{EVENT_TIMESTAMP}": since_when}, absence


def _typed(column: Array, kind: pa.DataType) -> pa.Array:
    return pa.array(column, from_pandas=True).cast(kind)


def _filled(keys: Mapping[str, pa.Array]) -> dict[str, list[object]]:
    """The keys with a value in place of null, which Feast cannot look up; `read` masks what is found for it."""
    return {
        name: pc.fill_null(column, "" if pa.types.is_string(column.type) else 0).to_pylist()
        for name, column in keys.items()
    }


def _is_null(column: pa.Array) -> Array:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False))


def _absence(has_no_key: Array, held: Array, timestamps: Array, max_age: timedelta | None) -> Array:
    """For each request one of ABSENCES, or None if the row that was found holds for it."""
    is_stale = np.zeros(len(held), bool) if max_age is None else timestamps - held > np.timedelta64(max_age)
    reasons = [has_no_key, held == _NEVER, is_stale, held > timestamps]
    return np.select(reasons, [np.full(len(held), name, object) for name in ABSENCES], np.full(len(held), None, object))


def _kept_as(kind: pa.DataType) -> type:
    """The NumPy type that `to_columns` uses for the same values."""
    return object if pa.types.is_string(kind) else np.float64
