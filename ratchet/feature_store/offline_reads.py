"""Read the offline store: requests with the features that were known at each one's timestamp, and with labels."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa

from ratchet.core.clock import TICK, Period
from ratchet.core.errors import StoreError
from ratchet.feature_store.definitions import feature_service, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.point_in_time_join import between
from ratchet.features.service import (
    label_schema,
    request_schema,
    service_spec,
)
from ratchet.storage.arrow import to_columns
from ratchet.storage.duckdb import Query
from ratchet.storage.partitions import by_date, files, unit_digests
from ratchet.storage.sql import timestamptz
from ratchet.use_case.columns import EVENT_TIMESTAMP, REQUEST_ID
from ratchet.use_case.contract import Array

_NO_REQUEST = "Deliver rows of that time, or advance until there are some; `ratchet stage featurize` computes them"


def historical(features: FeatureStore, period: Period) -> dict[str, Array]:
    """The requests of a period with the features known at each one's timestamp, ordered by event_timestamp and request_id.

    Adds `{lookup}__{feature}` and `{lookup}__event_timestamp` (NaT without a value). Raises StoreError if the store was not
    applied or holds no request of the period.
    """
    return to_columns(_historical(features, period))


def labelled_requests(features: FeatureStore, period: Period, as_of: datetime) -> pa.Table:
    """`historical` for the requests whose label was known at `as_of`, with their labels; without on-demand columns."""
    known = _labels(features, period, as_of)
    return _in_order(_historical(features, period).join(known, REQUEST_ID, join_type="inner"))


def request_times(features: FeatureStore, period: Period) -> pa.Table:
    """The event_timestamp of each request of a period, in order, with or without a known label."""
    requests = between(features.offline / "requests", [EVENT_TIMESTAMP], period.start, period.end - TICK)
    found = Query(requests).run(features.environment.threads, features.environment.memory_limit)
    return found.sort_by(EVENT_TIMESTAMP)


def has_requests(features: FeatureStore, period: Period) -> bool:
    """Whether there is any request of a period."""
    requests = between(features.offline / "requests", [EVENT_TIMESTAMP], period.start, period.end - TICK)
    first = Query(f"SELECT * FROM ({requests}) LIMIT 1")
    return bool(first.run(features.environment.threads, features.environment.memory_limit).num_rows)


def request_ids(features: FeatureStore, period: Period) -> dict[date, list[str]]:
    """UTC date → the request_ids of the period's requests on it, in order. Raises StoreError if no requests were computed."""
    unit_digests(features.offline / "requests")
    requests = between(features.offline / "requests", [REQUEST_ID, EVENT_TIMESTAMP], period.start, period.end - TICK)
    found = Query(requests).run(features.environment.threads, features.environment.memory_limit)
    return {day: rows[REQUEST_ID].to_pylist() for day, rows in by_date(found, EVENT_TIMESTAMP).items()}


def _historical(features: FeatureStore, period: Period) -> pa.Table:
    store = open_store(features)
    requests = features.offline / "requests"
    nothing = StoreError(f"holds no request of {period}", subject=str(requests), remedy=_NO_REQUEST)
    if not files(requests, period.start.date(), (period.end - TICK).date()):
        raise nothing
    entities = between(requests, request_schema(features.use_case).names, period.start, period.end - TICK)
    service = feature_service(store, service_spec(features.use_case))
    joined = store.get_historical_features(entities, service, full_feature_names=True).with_event_timestamps()
    features.upstream.require()  # another system may have restated its features while they were read
    if not joined.num_rows:
        raise nothing
    return _in_order(joined)


def _labels(features: FeatureStore, period: Period, as_of: datetime) -> pa.Table:
    schema = label_schema(features.use_case)
    rows = between(features.offline / "labels", schema.names, period.start, period.end - TICK, nothing="no_labels")
    known = f"label_known_at <= {timestamptz(as_of)}"
    query = f"SELECT request_id, label, label_known_at FROM ({rows}) WHERE {known} ORDER BY request_id"
    return Query(query, {"no_labels": schema.empty_table()}).run(
        features.environment.threads, features.environment.memory_limit
    )


def _in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([(EVENT_TIMESTAMP, "ascending"), (REQUEST_ID, "ascending")])
