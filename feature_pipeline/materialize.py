"""Write to the online store the row of each key that is valid now, and the later rows that are known already.

An online request then finds the same values as the point-in-time join, as long as nothing new has become known.
"""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from ratchet.code.code_digest import code_digest
from ratchet.core.clock import TICK
from ratchet.core.progress import counted
from ratchet.feature_store.definitions import apply, databases, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.freshness import FRESHNESS, Freshness, freshness_of
from ratchet.feature_store.upcoming_rows import pack
from ratchet.feature_store.written_rows import WrittenRows, forget_all_but
from ratchet.feature_store.written_store import begin_count
from ratchet.features.expressions import compile_delivered_view
from ratchet.features.leak_check import known_before
from ratchet.features.service import service_spec
from ratchet.features.source_rows import SourceRows
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.arrow import to_array
from ratchet.storage.digests import digest
from ratchet.storage.duckdb import Query
from ratchet.storage.files import read_json, write_json, write_text
from ratchet.storage.partitions import unit_digests
from ratchet.use_case.columns import EVENT_TIMESTAMP, UPCOMING
from ratchet.use_case.contract import SourceTable, View

if TYPE_CHECKING:
    import feast
    import ibis

logger = logging.getLogger(__name__)
CODE = code_digest(__name__)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def materialize(run: Run) -> Report:
    """Apply the definitions and write the online values as of the feature pipeline's instant.

    Only rows that changed are written, and keys that have no row any more are deleted. A mark in the store and then a file,
    written last, say what the store was written from. If both are up to date, nothing is compared; if the store is not the one
    that was written last, it is written anew. Raises StoreError if there are no features, or if the store cannot be written.
    """
    features, until = FeatureStore.open(run), run.as_of("feature")
    features.require(until)
    begin_count(run)
    inputs, marker = _inputs(run, features, until), run.paths.materialized_file
    mark, memory = _mark(features), _memory(run)
    report = _report_of(marker, inputs) if mark == inputs else None
    if report is None:
        marker.unlink(missing_ok=True)
    is_known = mark is not None and mark == _last_mark(run)
    forget_all_but(memory, service_spec(run.use_case).views.values() if is_known else ())
    apply(features)
    if report is None:
        with databases(features):
            if not is_known:
                features.online.clear()
            report = _write_views(run, features, until)
            features.online.set_mark(inputs)
        write_text(run.paths.online_mark, inputs)
        features.upstream.require()  # another system may have restated its features while they were read
        write_json(marker, {"inputs": inputs, "report": report})
    return report


def _mark(features: FeatureStore) -> str | None:
    """The mark in the online store; None if there is no store."""
    with databases(features):
        return features.online.mark()


def _last_mark(run: Run) -> str | None:
    """The mark of the store that was written last; None if there is none."""
    path = run.paths.online_mark
    return path.read_text(encoding="utf-8") if path.exists() else None


def _memory(run: Run) -> Path:
    """Where the rows are remembered that this code wrote; rows that other code wrote may have another form."""
    memory = run.paths.state / "online_rows" / CODE[:12]
    for other in memory.parent.iterdir() if memory.parent.is_dir() else ():
        if other != memory:
            shutil.rmtree(other)
    return memory


def _inputs(run: Run, features: FeatureStore, until: datetime) -> str:
    """A digest of everything that the online values are computed from."""
    spec = service_spec(run.use_case)
    own = [spec.views[view.name] for view in run.use_case.views if not view.upstream]
    views = {name: unit_digests(run.paths.features / "views" / name) for name in own}
    upstream = {name: found.summary for name, found in features.upstream.read().items()}
    return digest(CODE, spec.fingerprint, until, views, upstream, unit_digests(run.paths.accepted))


def _write_views(run: Run, features: FeatureStore, until: datetime) -> Report:
    spec, views, store = service_spec(run.use_case), run.use_case.views, open_store(features)
    found = {
        spec.views[view.name]: _write(run, features, store, view) for view in counted(views, "online store", len(views))
    }
    return {
        "service": spec.name,
        "fingerprint": spec.fingerprint,
        "views": {name: rows for name, (rows, *_) in found.items()},
        "changed": {name: changed for name, (_, changed, _) in found.items()},
        FRESHNESS: {view.name: fresh.as_of(until) for view, (*_, fresh) in zip(views, found.values(), strict=True)},
        "until": until.isoformat(),
    }


def _report_of(marker: Path, inputs: str) -> Report | None:
    """The report of a finished run on the same inputs, or None."""
    held = read_json(marker) if marker.exists() else {}
    return dict(held["report"]) if held.get("inputs") == inputs else None


def _write(run: Run, features: FeatureStore, store: feast.FeatureStore, view: View) -> tuple[int, int, Freshness]:
    """Bring a view up to date; returns how many keys it has, how many of them were written or deleted, and how old it is."""
    environment, name = run.environment, service_spec(run.use_case).views[view.name]
    limits = (environment.threads, environment.memory_limit)
    known = _known(run, features, store, view)
    rows = pack(known, view.keys).run(*limits)
    memory = WrittenRows(_memory(run), name, view.keys)
    changed, removed = memory.changed(rows).run(*limits).combine_chunks(), memory.removed(rows).run(*limits)
    logger.info("%s: writing %d of %d keys, deleting %d", name, len(changed), len(rows), len(removed))
    memory.begin(rows)
    if changed.num_rows:  # in one chunk, as Feast needs it
        store.write_to_online_store(name, changed.to_pandas(types_mapper=pd.ArrowDtype))
    if removed.num_rows:
        features.online.delete(store, name, removed)
    memory.finish()
    return int(rows.num_rows), int(changed.num_rows + removed.num_rows), _freshness(run, features, view, known)


def _freshness(run: Run, features: FeatureStore, view: View, known: pa.Table) -> Freshness:
    """The freshness of a view with these rows. Where they are all later than the instant, its newest row may be too old."""
    until = np.datetime64(run.as_of("feature").astimezone(UTC).replace(tzinfo=None), "us")
    times = to_array(known[EVENT_TIMESTAMP])
    newest, later = times[times <= until], times[times > until]
    found = newest.max().item().replace(tzinfo=UTC) if len(newest) else _newest_of_all(run, features, view)
    return freshness_of(view, found, later)


def _newest_of_all(run: Run, features: FeatureStore, view: View) -> datetime | None:
    """The event_timestamp of the last row before the instant, however old it is."""
    rows = features.rows(view.name).between([EVENT_TIMESTAMP], None, run.as_of("feature") - TICK)
    query = Query(f"SELECT max({EVENT_TIMESTAMP}) AS newest FROM ({rows.sql})", rows.tables)
    found: datetime | None = query.run(run.environment.threads, run.environment.memory_limit)["newest"][0].as_py()
    return found


def _known(run: Run, features: FeatureStore, store: feast.FeatureStore, view: View) -> pa.Table:
    """The row of each key that is valid at the instant, and the later ones that follow from what is known then."""
    spec, until = service_spec(run.use_case), run.as_of("feature")
    schema = spec.schemas[view.name]
    parts = (_latest(store, spec.views[view.name], view, until), _following(run, features, view, until))
    return pa.concat_tables([part.select(schema.names).cast(schema) for part in parts])


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


def _following(run: Run, features: FeatureStore, view: View, until: datetime) -> pa.Table:
    """The rows of each key from `until` on that follow from what was known at `until`.

    The row exactly at `until` is computed, too: if the period ends at a UTC midnight, the offline store has no row of the day
    that begins then.
    """
    if upstream := features.upstream.views.get(view.name):
        following = upstream.following(service_spec(run.use_case).schemas[view.name].names, until)
        return following.run(run.environment.threads, run.environment.memory_limit)
    compiled, day = compile_delivered_view(run.use_case, view, run.delivery), until.astimezone(UTC).date()
    source_rows = SourceRows.of(run.paths.accepted, run.use_case, run.environment, compiled)

    def seen(table: SourceTable, rows: ibis.Table) -> ibis.Table:
        return known_before(table, rows, run.delivery(table.name).seen_until(until) + TICK, "view")

    source_rows.bind(*compiled.source_dates(day, day), prepare=seen)
    rows = source_rows.snapshot(compiled, after=until - TICK)
    return source_rows.connection.to_pyarrow(rows.filter([rows[key].notnull() for key in view.keys]))
