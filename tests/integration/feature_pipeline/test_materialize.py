"""Materialize: the online store holds what the point-in-time join finds as of now, whatever happened on the way."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ibis import _
from pyarrow.dataset import dataset

from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.core.errors import StoreError
from ratchet.core.settings import Schedules
from ratchet.feature_store.definitions import apply, open_store
from ratchet.feature_store.feast_import import feast_module
from ratchet.feature_store.feature_store import FeatureStore, feast_project
from ratchet.feature_store.freshness import read_freshness
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from ratchet.storage.arrow import to_columns
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import Columns, Lookup, Tables, View
from ratchet.use_case.windows import UTC_INSTANT, trailing
from tests.support import parcels
from tests.support.accepted import accept
from tests.support.killing_sql import online_file, online_rows, survives
from tests.support.online_reads import absences, read_online, read_without_feast
from tests.support.parcels import END, parcel_rows, parcels_project, requests
from tests.support.variants import with_use_case
from tests.support.windows import at, with_end

HALF_PAST = datetime(2024, 3, 20, 16, 30, tzinfo=UTC)
LATE = {("depots", "depots"): parcels.depot_rows(), ("parcels", "only"): parcel_rows(34)}


@pytest.fixture(scope="module")
def featurized(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Features that are up to date, of parcels that arrived in the period, and nothing applied; do not change it."""
    run = parcels_project(tmp_path_factory.mktemp("featurized"))
    arrived = pc.field("arrived_at") < run.period("all").end - timedelta(hours=1)
    days = {("parcels", f"day-{day:02d}"): parcel_rows(day).filter(arrived) for day in range(36)}
    accept(run, {("depots", "depots"): parcels.depot_rows(), **days})
    featurize(run)
    return run


@pytest.fixture(scope="module")
def finished(featurized: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project whose online store is written; do not change it."""
    run = copied(featurized, tmp_path_factory.mktemp("finished"))
    materialize(run)
    return run


@pytest.fixture
def run(featurized: Run, tmp_path: Path) -> Run:
    """A featurized project to work on."""
    return copied(featurized, tmp_path)


def copied(run: Run, root: Path) -> Run:
    shutil.copytree(run.paths.data, replace(run, root=root).paths.data)
    return parcels_project(root)


def as_of(run: Run, columns: Columns) -> dict[str, Any]:
    """What the point-in-time join finds for requests, in their order."""
    entities = pd.DataFrame({"row": range(len(columns["sender"])), **columns})
    store = open_store(FeatureStore.open(run))
    service = store.get_feature_service(service_spec(run.use_case).name)
    job = store.get_historical_features(entities, service, full_feature_names=True)
    found = to_columns(job.with_event_timestamps().sort_by("row"))
    return {name: column for name, column in found.items() if "__" in name}


EVERY_PAIR = [(sender, receiver) for sender in range(-1, 5) for receiver in (None, *range(5))]


@pytest.mark.parametrize("later", [timedelta(), timedelta(minutes=30), timedelta(hours=2), timedelta(days=2, hours=3)])
def test_online_values_are_those_of_the_join(finished: Run, later: timedelta) -> None:
    """For every key, known or not, null or not, online and offline agree to the bit, as values age out one by one."""
    columns = requests(finished.period("all").end + later, *map(list, zip(*EVERY_PAIR, strict=True)))
    expected, found = as_of(finished, columns), read_online(finished, columns)
    assert set(expected) == set(found)
    for name, column in expected.items():
        np.testing.assert_array_equal(column, found[name], err_msg=name)
        assert column.dtype == found[name].dtype, name


LATER = [
    timedelta(hours=hours, seconds=seconds)
    for hours in (0, 1, 2, 3, 23, 24, 25, 26, 47, 72)
    for seconds in (0, 1, 1800)
]


@pytest.fixture(scope="module")
def half_past(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project with trailing windows whose online store was written at half past four, just after a parcel had arrived."""
    parcels_table = parcels.use_case.table("parcels")
    windows = trailing(
        "sent", ("sender",), parcels_table, tile="1h", windows=("2h", "24h"), delay="3d", sums={"parcels": 1}
    )
    every_half_hour = Schedules(feature="*/30 * * * *")
    run = with_use_case(
        parcels_project(tmp_path_factory.mktemp("half_past")).with_settings(schedules=every_half_hour),
        views=(
            *parcels.use_case.views,
            windows,
            View("name_day", ("depot",), name_day, timedelta(days=9), timedelta(days=2)),
        ),
        lookups=(
            *parcels.use_case.lookups,
            Lookup("sent", {"sender": "sender"}),
            Lookup("name_day", {"depot": "sender"}),
        ),
    )
    arrived_at = pc.field("arrived_at")
    quiet = (arrived_at <= HALF_PAST) | (arrived_at >= HALF_PAST + LATER[-1])
    days = {("parcels", f"day-{day:02d}"): parcel_rows(day, 60).filter(quiet) for day in range(36)}
    accept(run, {("depots", "depots"): parcels.depot_rows(), **days})
    featurize(run)
    materialize(at(run, HALF_PAST))
    return run


def name_day(tables: Tables) -> ibis.Table:
    """What is known of a depot's next day some time before it begins."""
    tomorrow = (_.arrived_at.truncate("D") + ibis.interval(days=1)).cast(UTC_INSTANT)
    arrived = tables["parcels"].filter(_.arrived_at.notnull()).mutate(event_timestamp=tomorrow, depot=_.receiver)
    return arrived.group_by("depot", "event_timestamp").agg(heaviest=_.grams.max(), name=_.grams.max().cast("string"))


def test_online_values_are_those_of_the_join_at_every_age(half_past: Run) -> None:
    """As counts fall and values begin to hold while nothing happens, and nothing of what the offline store knows of later."""
    each = [requests(HALF_PAST + later, *map(list, zip(*EVERY_PAIR, strict=True))) for later in LATER]
    columns = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
    expected, found = as_of(half_past, columns), read_online(half_past, columns)
    assert set(expected) == set(found)
    for name, column in expected.items():
        np.testing.assert_array_equal(column, found[name], err_msg=name)


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin"])
def test_online_values_at_the_periods_end_are_those_of_the_join_over_a_longer_period(
    tmp_path: Path, timezone: str
) -> None:
    """Also of the row exactly at the end, though the offline store of the shorter period has nothing of the day it begins."""
    ending = window_project(tmp_path, timezone, date(2024, 4, 5))
    end = ending.period("all").end
    quiet = (pc.field("arrived_at") <= end) | (pc.field("arrived_at") > end + timedelta(days=3))
    days = {("parcels", f"day-{day:02d}"): parcel_rows(day, 60).filter(quiet) for day in range(25, 38)}
    accept(ending, {("depots", "depots"): parcels.depot_rows(), **days})
    featurize(ending)
    materialize(ending)
    senders = list(range(4))
    ages = [timedelta(), timedelta(seconds=1), timedelta(hours=12), timedelta(days=1), timedelta(days=1, hours=12)]
    found = [read_online(ending, requests(end + age, senders, senders)) for age in ages]

    longer = window_project(tmp_path, timezone, date(2024, 4, 9))
    featurize(longer)
    expected = [as_of(longer, requests(end + age, senders, senders)) for age in ages]
    assert end in [instant.replace(tzinfo=UTC) for instant in expected[0]["hourly__event_timestamp"].tolist()]
    for joined, online in zip(expected, found, strict=True):
        assert set(joined) == set(online)
        for name, column in joined.items():
            np.testing.assert_array_equal(column, online[name], err_msg=name)


@pytest.mark.parametrize("lag", [timedelta(), timedelta(days=5)])
def test_what_counts_from_the_run_on_is_served_from_then_on(tmp_path: Path, lag: timedelta) -> None:
    """A parcel that was known exactly at the run, or whose lag ends there: when it was sent is then longer ago than the
    lookback."""
    ending = arrivals_project(tmp_path, lag)
    end = ending.as_of("feature")
    times = [end - lag - timedelta(hours=30), end - lag]
    rows = [
        {"sender": 1, "receiver": 1, "grams": grams, "sent_at": known - timedelta(hours=3), "arrived_at": known}
        for grams, known in enumerate(times)
    ]
    accept(
        ending,
        {
            ("depots", "depots"): parcels.depot_rows(),
            ("parcels", "two"): pa.Table.from_pylist(rows, schema=parcels.PARCELS),
        },
    )
    featurize(ending)
    materialize(ending)
    asked = [requests(end + age, [1], [1]) for age in (timedelta(), timedelta(seconds=1), timedelta(minutes=30))]
    found = [read_online(ending, each) for each in asked]

    longer = at(ending, end + timedelta(days=2))
    featurize(longer)
    expected = [as_of(longer, each) for each in asked]
    assert [1.0, 2.0] == [expected[-1][name][0] for name in ("arrivals__grams", "sent__parcels_7d")]
    for joined, online in zip(expected, found, strict=True):
        assert {name: column.tolist() for name, column in joined.items()} == {
            name: column.tolist() for name, column in online.items()
        }


def arrivals_project(root: Path, lag: timedelta) -> Run:
    """Parcels that are delivered after a lag: the weight of the last one, and how many there were."""
    run = parcels_project(root)
    run = run.with_settings(source=run.settings.source.model_copy(update={"lag": {"parcels": lag}}))

    def arrivals(tables: Tables) -> ibis.Table:
        arrived = tables["parcels"].group_by("sender", event_timestamp=_.row_available_at)
        return arrived.agg(grams=_.grams.max())

    table = run.use_case.table("parcels")
    views = (
        View("arrivals", ("sender",), arrivals, lookback=timedelta(days=2), max_age=timedelta(days=9)),
        trailing("sent", ("sender",), table, tile="1h", windows=("7d",), delay="3d", sums={"parcels": 1}),
    )
    return with_use_case(run, views=views, lookups=tuple(Lookup(view.name, {"sender": "sender"}) for view in views))


def window_project(root: Path, timezone: str, end: date) -> Run:
    """Parcels of a few weeks up to a local day, with windows in tiles of an hour and of a day."""
    run = parcels_project(root)
    table = run.use_case.table("parcels")
    views = [
        trailing(name, ("sender",), table, tile=tile, windows=windows, delay="2d", sums={"parcels": 1})
        for name, tile, windows in [("hourly", "1h", ("2h", "24h")), ("daily", "1d", ("1d", "7d"))]
    ]
    lookups = tuple(Lookup(view.name, {"sender": "sender"}) for view in views)
    given = with_use_case(run, timezone=timezone, views=tuple(views), lookups=lookups)
    windows_then = run.settings.windows.model_copy(update={"start": date(2024, 3, 28)})
    return with_end(given.with_settings(windows=windows_then), end)


def test_windows_fall_each_in_its_own_time(half_past: Run) -> None:
    """A window of two hours is empty after them, while that of a day still counts what it held."""
    found = [read_online(half_past, requests(HALF_PAST + later, [1], [1])) for later in (timedelta(), *LATER[9:12])]
    assert found[0]["sent__parcels_2h"] > 0
    assert [0.0] * 3 == [float(one["sent__parcels_2h"][0]) for one in found[1:]]
    assert all(one["sent__parcels_24h"] > 0 for one in found)


def test_feasts_own_materialize_is_refused(half_past: Run) -> None:
    """It knows nothing of what is to come, and would serve values that hold no longer."""
    store = open_store(FeatureStore.open(half_past))
    with pytest.raises(StoreError, match="ratchet stage materialize"):
        store.materialize(HALF_PAST - timedelta(days=1), HALF_PAST)


def test_value_newer_than_the_request_is_absent(finished: Run) -> None:
    """A request about an earlier timestamp gets nothing that was not known then."""
    found = read_online(finished, requests(datetime(2024, 3, 5, tzinfo=UTC), [1], [2]))
    assert np.isnan(found["from_depot__parcels"]).all()
    assert np.isnat(found["from_depot__event_timestamp"]).all()
    assert [-2.0] == found["to_position__north"].tolist()


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is not UTC, and jumps."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_machines_time_zone_does_not_matter(featurized: Run, tmp_path: Path, new_york: None) -> None:
    """Timestamps in the hour that a zone skips come back as they went in."""
    skipped = datetime(2024, 3, 10, 2, tzinfo=UTC)
    run = at(copied(featurized, tmp_path), skipped)
    arrival = parcel_rows(8).slice(0, 1).to_pylist()[0] | {
        "receiver": 1,
        "sent_at": skipped - timedelta(hours=3),
        "arrived_at": skipped - timedelta(minutes=5),
    }
    rows = parcel_rows(8).slice(0, 0).from_pylist([arrival], schema=parcels.PARCELS)
    accept(run, {("depots", "depots"): parcels.depot_rows(), ("parcels", "one"): rows})
    featurize(run)
    materialize(run)
    found = read_online(run, requests(skipped, [0], [1]))
    assert [skipped.replace(tzinfo=None)] == found["to_depot__event_timestamp"].tolist()
    assert [1.0] == found["to_depot__parcels"].tolist()


def test_report_counts_keys(finished: Run) -> None:
    """The report says as of when, and how many keys of each view were written."""
    report, views = materialize(finished), service_spec(finished.use_case).views
    assert "2024-04-04T22:00:00+00:00" == report["until"]
    assert {"depot": 4, "network": 1, "position": 4} == {
        name: report["views"][views[name]] for name in ("depot", "network", "position")
    }


def newest_of(run: Run, view: str) -> datetime:
    """The event_timestamp of the last row of a view in the offline store."""
    folder = run.paths.features / "views" / service_spec(run.use_case).views[view]
    found: datetime = pc.max(dataset(folder, format="parquet").to_table([EVENT_TIMESTAMP])[EVENT_TIMESTAMP]).as_py()
    return found


def test_report_says_how_old_each_view_is(finished: Run) -> None:
    """As of the pipeline's instant: the newest row that holds then, and the age from which it is not used."""
    found, until = materialize(finished)["freshness"], finished.as_of("feature")
    assert {"depot", "route", "network", "position"} == found.keys()
    for view in ("depot", "route", "network"):
        newest = newest_of(finished, view)
        assert (newest, True) == (datetime.fromisoformat(found[view]["newest"]), found[view]["fresh"])
        assert (until - newest).total_seconds() == found[view]["age_seconds"]
    assert (7200.0, None) == (found["network"]["max_age_seconds"], found["position"]["max_age_seconds"])
    assert (True, None) == (found["position"]["fresh"], found["position"]["fresh_until"])


def test_a_view_is_fresh_as_long_as_any_request_finds_it(half_past: Run) -> None:
    """At every age, also where rows that were written for the future follow."""
    held = read_freshness(half_past.paths.materialized_file)
    lookups = half_past.use_case.lookups
    for later in LATER:
        every_pair = requests(HALF_PAST + later, *map(list, zip(*EVERY_PAIR, strict=True)))
        found = absences(read_without_feast(half_past, every_pair))
        is_found = {lookup.view: False for lookup in lookups}
        for lookup in lookups:
            is_found[lookup.view] |= any(reason is None for reason in found[lookup.prefix])
        assert is_found == {view: held[view].is_fresh(HALF_PAST + later) for view in is_found}, later


def test_a_view_whose_rows_are_all_too_old_is_not_fresh(tmp_path: Path) -> None:
    """The store holds none of them; the report says since when there was nothing new."""
    run = parcels_project(tmp_path)
    days = {("parcels", f"day-{day:02d}"): parcel_rows(day) for day in range(20)}
    accept(run, {("depots", "depots"): parcels.depot_rows(), **days})
    featurize(run)
    found = materialize(run)["freshness"]
    assert {"depot": False, "route": False, "network": False, "position": True} == {
        view: each["fresh"] for view, each in found.items()
    }
    assert newest_of(run, "depot").isoformat() == datetime.fromisoformat(found["depot"]["newest"]).isoformat()
    assert found["depot"]["age_seconds"] > found["depot"]["max_age_seconds"]


def test_a_view_without_rows_is_not_fresh(tmp_path: Path) -> None:
    """It has no age."""
    run = parcels_project(tmp_path)
    place, nowhen = parcels.PARCELS.get_field_index("arrived_at"), pa.nulls(12, parcels.INSTANT)
    pending = parcel_rows(0).set_column(place, "arrived_at", nowhen)
    accept(run, {("depots", "depots"): parcels.depot_rows(), ("parcels", "day-00"): pending})
    featurize(run)
    found = materialize(run)["freshness"]["network"]
    assert (None, None, False) == (found["newest"], found["age_seconds"], found["fresh"])


def test_an_absent_feature_has_its_reason(finished: Run) -> None:
    """No key, a key that nobody knows, a row that is too old, or one that is newer than the request."""
    end = finished.period("all").end
    now = absences(read_without_feast(finished, requests(end, [1, 1, 1], [None, 99, 2])))
    assert (["no key", "missing", None], [None] * 3) == (now["to_depot"], now["from_depot"])
    for reason, moment in {"stale": end + timedelta(days=40), "newer": end - timedelta(days=20)}.items():
        assert [reason] == absences(read_without_feast(finished, requests(moment, [1], [2])))["to_depot"]


def test_values_are_those_as_of_the_pipeline(run: Run) -> None:
    """What the period still holds in store is not served before its time."""
    early = at(run, datetime(2024, 3, 20, 12, 30, tzinfo=UTC))
    assert "2024-03-20T12:30:00+00:00" == materialize(early)["until"]
    found = read_online(early, requests(END, [1], [2]))
    assert np.isnan(found["from_depot__parcels"]).all()


def test_true_marker_saves_writing_again(run: Run) -> None:
    """A second run on the same features leaves marker and values, and reports the same."""
    first = materialize(run)
    before = (run.paths.state / "materialized.json").stat().st_mtime_ns
    assert first == materialize(run)
    assert before == (run.paths.state / "materialized.json").stat().st_mtime_ns


def test_changed_features_are_written(run: Run) -> None:
    """New features replace the values of their keys; a key without any has none, as in the join."""
    materialize(run)
    accept(run, LATE)
    featurize(run)
    materialize(run)
    columns = requests(END, [0, 1, 2, 3], [0, 1, 2, 3])
    after, expected = read_online(run, columns), as_of(run, columns)
    renewed = ~np.isnan(expected["from_depot__parcels"])
    assert renewed.any()
    assert not renewed.all()
    np.testing.assert_array_equal(expected["from_depot__parcels"], after["from_depot__parcels"])


def test_only_what_changed_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parcel that arrived late changes the keys that it counts for, and no other is handed to the store."""
    materialize(run)
    late = parcel_rows(31).filter(pc.field("receiver").is_valid()).slice(0, 1)
    moved = late.set_column(3, "sent_at", pc.add(late["sent_at"], timedelta(seconds=1)).cast(late.schema.field(3).type))
    days = {("parcels", f"day-{day:02d}"): parcel_rows(day) for day in range(36)}
    accept(run, {**days, ("depots", "depots"): parcels.depot_rows(), ("parcels", "late"): moved})
    featurize(run)
    handed = []
    write = feast_module().FeatureStore.write_to_online_store

    def counting(store: object, name: str, rows: Any) -> None:
        handed.append((name.rpartition("_")[0], len(rows)))
        write(store, name, rows)

    monkeypatch.setattr(feast_module().FeatureStore, "write_to_online_store", counting)
    report = materialize(run)
    assert {"depot": 1, "network": 1} == dict(handed)
    assert 2 == sum(report["changed"].values())


def test_a_key_without_a_row_disappears(run: Run) -> None:
    """Where a correction takes all rows of a sender away, nothing of it is served any more; everything else stays."""
    materialize(run)
    asked = requests(run.as_of("feature"), [1, 0], [0, 1])
    before = read_online(run, asked)
    assert not np.isnan(before["to_depot__parcels"]).any()
    without = {("parcels", f"day-{day:02d}"): parcel_rows(day).filter(pc.field("receiver") != 0) for day in range(36)}
    accept(run, {**without, ("depots", "depots"): parcels.depot_rows()})
    featurize(run)
    report = materialize(run)
    found = read_online(run, asked)
    assert [True, False] == np.isnan(found["to_depot__parcels"]).tolist()
    with sqlite3.connect(online_file(run)) as database:
        name = f"{feast_project(run.scope)}_{service_spec(run.use_case).views['depot']}"
        keys = f'SELECT count(DISTINCT entity_key) FROM "{name}"'
        assert [(report["views"][service_spec(run.use_case).views["depot"]],)] == database.execute(keys).fetchall()


def test_lost_online_store_is_written_again(run: Run) -> None:
    """Who reads makes none in its place, and a marker without the database that it speaks of is not believed."""
    materialize(run)
    expected = online_rows(run)
    for path in run.paths.state.glob("feast_online.db*"):
        path.unlink()
    with pytest.raises(StoreError, match=r"feast_online\.db: .*`ratchet stage materialize`"):
        read_without_feast(run, requests(END, [1], [2]))
    assert [] == list(run.paths.state.glob("feast_online.db*"))
    materialize(run)
    assert expected == online_rows(run)


def test_changed_view_replaces_the_former_one(run: Run) -> None:
    """Definitions that are gone leave the registry and the online store, and their service cannot be read."""
    materialize(run)
    depot = replace(run.use_case.view("depot"), max_age=timedelta(days=1))
    changed = with_use_case(run, views=(depot,), lookups=run.use_case.lookups[:2])
    featurize(changed)
    materialize(changed)
    store, spec = open_store(FeatureStore.open(changed)), service_spec(changed.use_case)
    assert [spec.name] == [service.name for service in store.list_feature_services()]
    assert {spec.views["depot"], "labels", "requests"} == {view.name for view in store.list_feature_views()}
    assert {"depot", "request_id"} == {entity.name for entity in store.list_entities()}
    assert {"requests", "labels", spec.views["depot"]} == {source.name for source in store.list_data_sources()}
    with pytest.raises(StoreError, match=r"applied.*`ratchet stage materialize`"):
        open_store(FeatureStore.open(run))


@pytest.mark.parametrize(
    ("what", "room", "changes"),
    [
        ("online store", 40_000, {}),
        ("feature registry", 60_000, {"views": (), "lookups": ()}),
    ],
)
def test_a_full_disk_is_a_clear_error(run: Run, what: str, room: int, changes: dict[str, Any]) -> None:
    """Wherever the databases cannot grow, the error says which one and what to do, and a run with room ends right."""
    apply(FeatureStore.open(run))
    changed = with_use_case(run, **changes)
    featurize(changed)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(StoreError, match=rf"^{what}: .*written.*room"):
            materialize(changed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert service_spec(changed.use_case).name == materialize(changed)["service"]


@pytest.mark.parametrize("parts", [("0.01", "0.6", "0.95"), pytest.param((), marks=pytest.mark.soak)])
def test_killed_between_any_statements_it_ends_right_when_run_again(
    featurized: Run, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    """Killed while it applies or writes, it leaves no marker, and a rerun holds what an undisturbed run holds."""
    copied(featurized, tmp_path / "prepared")
    kills = survives(tmp_path, *parts)
    assert kills == len(parts) or (not parts and kills > 100)


def test_online_values_need_features(tmp_path: Path) -> None:
    """Before featurize has run there is nothing to write, and the error says so."""
    with pytest.raises(StoreError, match=r"go up to no instant.*materialize@"):
        materialize(parcels_project(tmp_path))


def test_readers_go_on_while_it_writes(finished: Run) -> None:
    """The online store is in write-ahead mode, in which a writer keeps no reader waiting."""
    header = online_file(finished).read_bytes()[18:20]
    assert b"\x02\x02" == header
