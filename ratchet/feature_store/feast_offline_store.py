"""Feast's offline store on Parquet by UTC date. Feast finds the class by its name in feature_store.yaml."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.types import from_feast_to_pyarrow_type

from ratchet.core.errors import StoreError
from ratchet.feature_store.feast_import import UPSTREAM
from ratchet.feature_store.point_in_time_join import DatedRows, Join, Rows, point_in_time
from ratchet.features.upstream_rows import UpstreamRows
from ratchet.storage.duckdb import Query
from ratchet.storage.sql import names
from ratchet.use_case.columns import EVENT_TIMESTAMP, UPCOMING
from ratchet.use_case.contract import INSTANT

ENTITIES = "entities"


class AsofOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`offline_store` in feature_store.yaml."""

    type: Literal["ratchet.feature_store.feast_offline_store.AsofOfflineStore"] = (
        "ratchet.feature_store.feast_offline_store.AsofOfflineStore"
    )
    threads: int = 2
    memory_limit: str = "4GB"

    def run(self, query: Query) -> pa.Table:
        return query.run(self.threads, self.memory_limit)


class QueryJob(RetrievalJob):  # type: ignore[misc]
    """A query that runs when its rows are asked for."""

    def __init__(
        self,
        query: Query,
        config: AsofOfflineStoreConfig,
        metadata: RetrievalMetadata | None = None,
        full_feature_names: bool = False,
        timestamps: Sequence[str] = (),
    ) -> None:
        self._query, self._config = query, config
        self._metadata, self._full_feature_names = metadata, full_feature_names
        self._timestamps = list(timestamps)

    def with_event_timestamps(self) -> pa.Table:
        """The rows, with a column `{view}__event_timestamp` for each view: the time since which its values hold."""
        return self._config.run(self._query)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self.with_event_timestamps().drop_columns(self._timestamps)

    def to_sql(self) -> str:
        return self._query.sql

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[Any]:
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata


class AsofOfflineStore(OfflineStore):  # type: ignore[misc]
    """Feast's offline store by ASOF JOIN. It does not keep the order of rows: give them an id."""

    def ensure_filter_by_created_timestamp_supported(self) -> None:
        raise StoreError(
            "cannot filter by created timestamp, because it keeps none",
            subject="get_historical_features",
            remedy="Remove filter_by_created_timestamp from the call",
        )

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **_interval: Any,
    ) -> QueryJob:
        """Join features to `entity_df`: SQL, or a frame with the join keys and event_timestamp (UTC if it has no zone)."""
        entities = _entities(entity_df)
        joins = [_join(config, view, feature_refs, full_feature_names) for view in feature_views]
        columns, first, last = _describe(entities, joins, config.offline_store)
        return QueryJob(
            point_in_time(entities, joins, first, last),
            config.offline_store,
            RetrievalMetadata(feature_refs, [name for name in columns if name != EVENT_TIMESTAMP], first, last),
            full_feature_names,
            [join.timestamp for join in joins],
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> QueryJob:
        """The latest row of each key between two instants (inclusive), ordered by key."""
        keys = names(join_key_columns)
        latest = f"row_number() OVER (PARTITION BY {keys} ORDER BY {EVENT_TIMESTAMP} DESC) = 1"
        rows = _between(config, data_source, join_key_columns, feature_name_columns, start_date, end_date)
        return QueryJob(Query(f"FROM ({rows.sql}) QUALIFY {latest} ORDER BY {keys}", rows.tables), config.offline_store)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> QueryJob:
        """Every row between two instants (inclusive), ordered by key and time."""
        rows = _between(config, data_source, join_key_columns, feature_name_columns, start_date, end_date)
        order = names([*join_key_columns, EVENT_TIMESTAMP])
        return QueryJob(Query(f"FROM ({rows.sql}) ORDER BY {order}", rows.tables), config.offline_store)


def _between(
    config: RepoConfig, source: Any, keys: list[str], features: list[str], first: datetime | None, last: datetime | None
) -> Query:
    """The rows of a source between two instants. Raises StoreError for the upcoming rows, which Feast's own materialize would
    lose."""
    if UPCOMING in features:
        raise StoreError(
            "are not in the offline store",
            subject=UPCOMING,
            remedy="Run `ratchet stage materialize`, which computes them",
        )
    columns = [*keys, *features, EVENT_TIMESTAMP]
    return _rows(config, source, pa.schema([(name, pa.null()) for name in columns])).between(columns, first, last)


def _entities(entity_df: pd.DataFrame | str | None) -> Query:
    if entity_df is None:
        raise StoreError(
            "cannot list values without entities",
            subject="get_historical_features",
            remedy="Give it entity_df: SQL, or a frame with event_timestamp and the join keys",
        )
    if isinstance(entity_df, str):
        return Query(entity_df)
    return Query(f"SELECT * FROM {ENTITIES}", {ENTITIES: pa.Table.from_pandas(entity_df, preserve_index=False)})


def _join(config: RepoConfig, view: FeatureView, feature_refs: list[str], full_feature_names: bool) -> Join:
    """The join of a view under the name and with the keys of its projection, for the features that are requested of it."""
    role = view.projection.name_to_use()
    wanted = [ref.removeprefix(f"{role}:") for ref in feature_refs if ref.startswith(f"{role}:")]
    kept = [entry for entry in (*view.entity_columns, *view.features) if entry.name != UPCOMING]
    fields = [(entry.name, from_feast_to_pyarrow_type(entry.dtype)) for entry in kept]
    schema = pa.schema([*fields, (EVENT_TIMESTAMP, INSTANT)])
    return Join(
        name=role,
        rows=_rows(config, view.batch_source, schema),
        schema=schema,
        keys={key.name: view.projection.join_key_map.get(key.name, key.name) for key in view.entity_columns},
        columns={name: f"{role}__{name}" if full_feature_names else name for name in wanted if name != UPCOMING},
        max_age=view.ttl or None,
    )


def _rows(config: RepoConfig, source: Any, schema: pa.Schema) -> Rows:
    """The rows of a source. As everywhere in Feast, a relative path begins in the folder of feature_store.yaml."""
    place = Path(os.path.normpath(Path(config.repo_path or ".") / source.path))
    upstream = source.tags.get(UPSTREAM)
    return (
        UpstreamRows.model_validate({**json.loads(upstream), "place": place}) if upstream else DatedRows(place, schema)
    )


def _describe(
    entities: Query, joins: Sequence[Join], limits: AsofOfflineStoreConfig
) -> tuple[list[str], datetime, datetime]:
    """The entities' columns, and their first and last event_timestamp."""
    columns = limits.run(Query(f"SELECT * FROM ({entities.sql}) LIMIT 0", entities.tables)).column_names
    wanted = [EVENT_TIMESTAMP, *(column for join in joins for column in join.keys.values())]
    missing = sorted(set(wanted) - set(columns))
    if missing:
        raise StoreError(f"lacks {', '.join(missing)}", subject="entity_df", remedy="Add these columns")
    bounds = f"SELECT min({EVENT_TIMESTAMP})::TIMESTAMPTZ, max({EVENT_TIMESTAMP})::TIMESTAMPTZ FROM ({entities.sql})"
    first, last = (column[0].as_py() for column in limits.run(Query(bounds, entities.tables)).columns)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return columns, first or epoch, last or epoch
