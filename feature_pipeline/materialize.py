"""Write to the online store the row of each key that is valid now, and the later rows that are known already.

An online request then finds the same values as the point-in-time join, as long as nothing new has become known.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from ratchet.code.code_digest import code_digest
from ratchet.core.clock import TICK
from ratchet.core.progress import counted
from ratchet.feature_store.definitions import apply, databases, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_store import online_store
from ratchet.feature_store.upcoming_rows import pack
from ratchet.features.expressions import compile_view
from ratchet.features.leak_check import known_before
from ratchet.features.service import service_spec
from ratchet.features.source_rows import SourceRows
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.digests import digest
from ratchet.storage.files import read_json, write_json
from ratchet.storage.partitions import unit_digests
from ratchet.use_case.columns import EVENT_TIMESTAMP, UPCOMING
from ratchet.use_case.contract import View

if TYPE_CHECKING:
    import feast

logger = logging.getLogger(__name__)
CODE = code_digest(__name__)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def materialize(run: Run) -> Report:
    """Apply the definitions and write the online values as of the feature pipeline's instant.

    A marker file, written last, records what the online store holds. If the marker is up to date, nothing is written. A run
    that was interrupted leaves no marker, so the next run writes everything. A key without a newer row keeps its old values.
    Raises StoreError if there are no features, or if the store cannot be written.
    """
    features, until = FeatureStore.open(run), run.as_of("feature")
    inputs, marker = _inputs(run, until), run.paths.state / "materialized.json"
    is_there = online_store(features.environment, features.databases).exists()
    report = _report_of(marker, inputs) if is_there else None
    if report is None:
        marker.unlink(missing_ok=True)
    apply(features)
    if report is None:
        report = _write_views(run, features, until)
        write_json(marker, {"inputs": inputs, "report": report})
    return report


def _inputs(run: Run, until: datetime) -> str:
    """A digest of everything that the online values are computed from."""
    spec = service_spec(run.use_case)
    views = {name: unit_digests(run.paths.features / "views" / name) for name in spec.views.values()}
    return digest(CODE, spec.fingerprint, until, views, unit_digests(run.paths.accepted))


def _write_views(run: Run, features: FeatureStore, until: datetime) -> Report:
    spec, views, store = service_spec(run.use_case), run.use_case.views, open_store(features)
    with databases(features):
        rows = {
            spec.views[view.name]: _write(run, store, view, until)
            for view in counted(views, "online store", len(views))
        }
    return {"service": spec.name, "fingerprint": spec.fingerprint, "views": rows, "until": until.isoformat()}


def _report_of(marker: Path, inputs: str) -> Report | None:
    """The report of a finished run on the same inputs, or None."""
    held = read_json(marker) if marker.exists() else {}
    return dict(held["report"]) if held.get("inputs") == inputs else None


def _write(run: Run, store: feast.FeatureStore, view: View, until: datetime) -> int:
    spec, environment = service_spec(run.use_case), run.environment
    name, schema = spec.views[view.name], spec.schemas[view.name]
    parts = (_latest(store, name, view, until), _following(run, view, until))
    known = pa.concat_tables([part.select(schema.names).cast(schema) for part in parts])
    rows = (
        pack(known, view.keys).run(environment.threads, environment.memory_limit).combine_chunks()
    )  # Feast writes one chunk
    logger.info("%s: writing %d keys", name, rows.num_rows)
    if rows.num_rows:
        store.write_to_online_store(name, rows.to_pandas(types_mapper=pd.ArrowDtype))
    return int(rows.num_rows)


def _latest(store: feast.FeatureStore, name: str, view: View, until: datetime) -> pa.Table:
    """The last row of each key before `until`, unless it is older than max_age."""
    registered = store.get_feature_view(name)
    job = store.provider.offline_store.pull_latest_from_table_or_query(
        config=store.config,
        data_source=registered.batch_source,
        join_key_columns=[key.name for key in registered.entity_columns],
        feature_name_columns=[feature.name for feature in registered.features if feature.name != UPCOMING],
        timestamp_field=EVENT_TIMESTAMP,
        created_timestamp_column=None,
        start_date=until - view.max_age if view.max_age else EPOCH,
        end_date=until - TICK,
    )
    return job.to_arrow()


def _following(run: Run, view: View, until: datetime) -> pa.Table:
    """The rows of each key from `until` on that follow from what was known at `until`.

    The row exactly at `until` is computed, too: if the period ends at a UTC midnight, the offline store has no row of the day
    that begins then.
    """
    compiled, day = compile_view(run.use_case, view), until.astimezone(UTC).date()
    source_rows = SourceRows.of(run.paths.accepted, run.use_case, run.environment, compiled)
    source_rows.bind(
        *compiled.source_dates(day, day), prepare=lambda table, rows: known_before(table, rows, until + TICK)
    )
    rows = source_rows.snapshot(compiled, after=until - TICK)
    return source_rows.connection.to_pyarrow(rows.filter([rows[key].notnull() for key in view.keys]))
