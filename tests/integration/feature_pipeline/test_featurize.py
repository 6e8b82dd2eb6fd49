"""Featurize: views, requests and labels by date, each from what it follows from and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from ibis import _

from feature_pipeline.featurize import contents_digest, featurize
from ratchet.core.errors import DataError, StoreError
from ratchet.core.settings import Retention
from ratchet.features.service import request_schema, service_spec
from ratchet.project.run import Run
from ratchet.storage.partitions import MANIFEST, files
from ratchet.use_case.contract import Tables
from tests.support import parcels
from tests.support.accepted import accept
from tests.support.killing import contents, survives
from tests.support.parcels import parcel_rows, parcels_project
from tests.support.variants import with_use_case
from tests.support.windows import with_days, with_end

DEPOT = parcels.use_case.view("depot")
LOOKUPS = parcels.use_case.lookups[:2]  # the two roles of a depot


@pytest.fixture
def run(featurized_parcels: Run, tmp_path: Path) -> Run:
    """A project of the test's own that is up to date."""
    shutil.copytree(featurized_parcels.paths.data, replace(featurized_parcels, root=tmp_path).paths.data)
    return parcels_project(tmp_path)


def read(directory: Path) -> list[dict[str, Any]]:
    return [row for path in files(directory) for row in pq.read_table(path, partitioning=None).to_pylist()]


def directory(run: Run, view: str) -> Path:
    return run.paths.features / "views" / service_spec(run.use_case).views[view]


def written(run: Run, before: Mapping[str, int]) -> set[str]:
    """Names of the table files that are not the files that they were before."""
    return {name for name, time in when_written(run).items() if before.get(name) != time}


def dates(names: set[str], table: str) -> set[str]:
    return {name.split("date=")[1][:10] for name in names if name.startswith(table) and "date=" in name}


def when_written(run: Run) -> dict[str, int]:
    """Table file → when it was written, in nanoseconds."""
    found = run.paths.features.rglob("*.parquet")
    return {str(path.relative_to(run.paths.features)): path.stat().st_mtime_ns for path in found}


FIRST = {("depots", "depots"): parcels.depot_rows(), ("parcels", "first"): parcel_rows(1)}


def prepare(root: Path) -> None:
    """What stands before the work that is killed everywhere: an up-to-date project, then a late batch."""
    run = small(root)
    accept(run, FIRST)
    featurize(with_use_case(run, views=parcels.use_case.views[3:], lookups=parcels.use_case.lookups[4:]))
    accept(run, {**FIRST, ("parcels", "late"): parcel_rows(2, parcels=20).slice(12)})


def work(root: Path) -> None:
    featurize(small(root))


def small(root: Path) -> Run:
    """Four days of requests and labels, and no view any more."""
    first, second, third, fourth, end = (date(2024, 3, day) for day in range(2, 7))
    return with_use_case(with_days(parcels_project(root), (first, second, third, fourth, end)), views=(), lookups=())


def test_killed_anywhere_it_ends_right_when_run_again(tmp_path: Path) -> None:
    """Killed at each write of an update and run again, every file is as an undisturbed run leaves it."""
    assert survives("tests.integration.feature_pipeline.test_featurize", tmp_path) > 10


def test_view_row_is_the_expression_of_what_was_known(featurized_parcels: Run) -> None:
    """A feature counts the rows that the lookback holds, once each, across dates that were computed apart."""
    rows = [row for day in range(36) for row in parcel_rows(day).to_pylist()]
    for found in read(directory(featurized_parcels, "network")):
        timestamp = found["event_timestamp"]
        known = [
            row["grams"] for row in rows if timestamp - timedelta(days=5, hours=1) <= row["arrived_at"] < timestamp
        ]
        assert (len(known), sum(known) / len(known)) == (found["parcels"], found["grams"])


def test_same_interval_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    """Computed again from nothing, every file has the bytes that it had."""
    expected = contents(run.paths.features)
    shutil.rmtree(run.paths.features)
    featurize(run)
    assert expected == contents(run.paths.features)


@pytest.mark.parametrize("day", ["2024-03-07", "2024-03-31", "2024-04-01"])
def test_day_by_itself_is_what_it_was_among_others(run: Run, day: str) -> None:
    """One lost date is computed alone, to the bytes that it had when it was one of many."""
    expected, before = contents(run.paths.features), when_written(run)
    lost = {name for name in before if day in name}
    for name in lost:
        (run.paths.features / name).unlink()
    featurize(run)
    assert expected == contents(run.paths.features)
    assert lost == written(run, before)
    assert 5 == len(lost)


def parcels_sent_later(tables: Tables) -> ibis.Table:
    """How many parcels the sender of each will send in the ten days after it."""
    sent = tables["parcels"]
    later = sent.select(again_by="sender", again_at="sent_at")
    rows = sent.left_join(
        later,
        [
            sent.sender == later.again_by,
            later.again_at > sent.sent_at,
            later.again_at <= sent.sent_at + ibis.interval(days=10),
        ],
    )
    counted = rows.group_by("row_key", "sender", "receiver", "sent_at").agg(label=_.again_at.count())
    return counted.select(
        "sender",
        "receiver",
        "label",
        request_id=_.row_key,
        event_timestamp=_.sent_at,
        label_known_at=_.sent_at + ibis.interval(days=10),
    )


def test_label_may_look_as_far_ahead_as_its_horizon(run: Run) -> None:
    """A lost date of labels that look ten days ahead is computed alone, to the bytes that it had among others."""
    later = with_use_case(run, examples=parcels_sent_later, horizon=timedelta(days=10))
    featurize(later)
    expected = contents(later.paths.features)
    (later.paths.features / "labels" / "date=2024-03-10" / "part.parquet").unlink()
    featurize(later)
    assert expected == contents(later.paths.features)


def test_second_run_computes_nothing(run: Run) -> None:
    """What stands is kept, and the report is the same."""
    before = when_written(run)
    first = featurize(run)
    assert set() == written(run, before)
    assert first == featurize(run)


def test_late_batch_changes_only_dates_within_its_reach(run: Run) -> None:
    """Rows of one day are seen by views until their lookback ends, and by requests of the days beside it."""
    before = when_written(run)
    days = {("parcels", f"day-{day:02d}"): parcel_rows(day) for day in range(36)}
    sent = parcel_rows(10, parcels=3)
    after = sent.set_column(3, "sent_at", pc.add(sent["sent_at"], timedelta(seconds=1)).cast(sent.schema.field(3).type))
    late = {("parcels", "late"): after, ("depots", "depots"): parcels.depot_rows()}
    accept(run, days | late)
    featurize(run)
    changed = written(run, before)
    assert {"2024-03-10", "2024-03-11", "2024-03-12"} == dates(changed, "requests")
    assert ("2024-03-10", "2024-03-20") == (min(dates(changed, "views")), max(dates(changed, "views")))


def test_report_changes_with_every_table(run: Run) -> None:
    """Later stages of dvc.yaml depend on it alone; where nothing was computed it is what it was."""
    before = featurize(run)["contents"]
    assert before == featurize(run)["contents"]
    found = {before}
    for manifest in run.paths.features.rglob(MANIFEST):
        given = manifest.read_text(encoding="utf-8")
        manifest.write_text(given.replace('"rows": ', '"rows": 1', 1), encoding="utf-8")
        found.add(contents_digest(run.paths.features))
        manifest.write_text(given, encoding="utf-8")
    assert len(found) == 1 + len(list(run.paths.features.rglob(MANIFEST)))
    assert before == contents_digest(run.paths.features)


def test_report_counts_rows(featurized_parcels: Run) -> None:
    """The report names the service and the rows of every view, of requests and labels."""
    report, spec = featurize(featurized_parcels), service_spec(featurized_parcels.use_case)
    assert spec.fingerprint == report["fingerprint"]
    assert {spec.views[view]: len(read(directory(featurized_parcels, view))) for view in spec.views} == report["views"]
    assert [len(read(featurized_parcels.paths.features / "requests"))] == [report["requests"]]
    assert [len(read(featurized_parcels.paths.features / "labels"))] == [report["labels"]]


def test_requests_are_those_of_the_period(featurized_parcels: Run) -> None:
    """Requests carry fields and constants, lie in the period to the microsecond, and under their UTC date."""
    period, rows = featurized_parcels.period("all"), read(featurized_parcels.paths.features / "requests")
    assert request_schema(featurized_parcels.use_case).names == list(rows[0])
    assert {"post"} == {row["network"] for row in rows}
    assert period.start <= min(row["event_timestamp"] for row in rows)
    assert period.end > max(row["event_timestamp"] for row in rows)
    for path in files(featurized_parcels.paths.features / "requests"):
        found = {
            row["event_timestamp"].date().isoformat() for row in pq.read_table(path, partitioning=None).to_pylist()
        }
        assert {Path(path).parent.name.removeprefix("date=")} == found


def test_shorter_period_recomputes_only_its_edge(run: Run) -> None:
    """Dates that the period no longer touches go, and of the rest only the last is new, and the one before, which may use its
    rows: those from after the period do not count."""
    before = when_written(run)
    featurize(with_end(run, date(2024, 4, 3)))
    assert {"2024-04-01", "2024-04-02"} == {path.rpartition("date=")[2][:10] for path in written(run, before)}
    assert "2024-04-02" == max(dates(set(when_written(run)), "requests") | dates(set(when_written(run)), "labels"))


def test_view_rows_before_the_period_stay_while_they_may_hold(run: Run) -> None:
    """The first requests find values from before the period, as old as the view's max_age allows."""
    before = when_written(run)
    later = run.settings.windows.model_copy(update={"start": date(2024, 3, 15)})
    featurize(run.with_settings(windows=later))
    kept, views = set(when_written(run)), service_spec(run.use_case).views
    first = {name: min(dates(kept, f"views/{views[name]}")) for name in ("depot", "route", "network")}
    assert {"depot": "2024-03-11", "route": "2024-03-13", "network": "2024-03-14"} == first
    assert set() == dates(written(run, before), "views")


def test_only_features_that_are_kept_are_there(run: Run) -> None:
    """Older dates go, and do not come back; the values that remain are those that there would be anyway."""
    before, whole = when_written(run), contents(run.paths.features)
    kept = run.with_settings(retention=Retention(features=timedelta(days=20)))
    featurize(kept)
    first, after = kept.period("features").start, contents(run.paths.features)
    edge = f"date={first.date()}"
    same = {path for path in after if "date=" in path and edge not in path}
    assert {path: whole[path] for path in same} == {path: after[path] for path in same}
    assert str(first.date()) <= min(dates(set(after), "requests") | dates(set(after), "labels"))
    assert {edge[5:]} >= dates(written(run, before), "requests")
    assert len(dates(set(after), "views")) < len(dates(set(whole), "views"))
    before = when_written(run)
    featurize(kept)
    assert set() == written(run, before)


def test_static_view_belongs_to_no_date(featurized_parcels: Run) -> None:
    """A view over reference tables alone is computed whole, even of timestamps long before the period."""
    position = directory(featurized_parcels, "position")
    assert [str(position / "static" / "part.parquet")] == files(position)
    assert [0, 1, 2, 3] == [row["depot"] for row in read(position)]


def test_row_without_a_key_is_left_out(featurized_parcels: Run) -> None:
    """A parcel to nowhere is no arrival at any depot."""
    assert None not in {row["depot"] for row in read(directory(featurized_parcels, "depot"))}


def test_changed_expression_makes_a_new_table(run: Run) -> None:
    """Another definition is another table, and that of the former one goes."""
    former = directory(run, "depot")
    changed = with_use_case(run, views=(replace(DEPOT, max_age=timedelta(days=1)),), lookups=LOOKUPS)
    featurize(changed)
    assert former != directory(changed, "depot")
    assert [directory(changed, "depot")] == list((run.paths.features / "views").iterdir())


def at_any_second(tables: Tables) -> ibis.Table:
    return parcels.depot(tables).mutate(event_timestamp=_.event_timestamp + ibis.interval(milliseconds=1))


def twice(tables: Tables) -> ibis.Table:
    return ibis.union(parcels.depot(tables), parcels.depot(tables))


def same_request(tables: Tables) -> ibis.Table:
    return parcels.examples(tables).mutate(request_id=ibis.literal("same"))


def long_numbers(tables: Tables) -> ibis.Table:
    return parcels.examples(tables).mutate(sender=_.sender + (2**53 + 1))


def never(tables: Tables) -> ibis.Table:
    return parcels.examples(tables).filter(_.event_timestamp < ibis.timestamp("2000-01-01"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": (replace(DEPOT, compute=at_any_second),)}, "view depot_.*second"),
        ({"views": (replace(DEPOT, compute=twice),)}, "view depot_.*unique.*'depot': 0"),
        ({"examples": same_request}, "requests.*unique.*'same'"),
        ({"examples": long_numbers}, "requests: .*sender.*exact"),
        ({"examples": never}, "accepted: no .*request"),
    ],
)
def test_rows_that_the_store_cannot_keep_are_refused(run: Run, change: dict[str, Any], message: str) -> None:
    """Repeated or inexact keys, split seconds and a period without requests are named, with the table they are in."""
    with pytest.raises(DataError, match=message):
        featurize(with_use_case(run, **{"views": (DEPOT,), "lookups": LOOKUPS, **change}))


def test_features_need_accepted_rows(tmp_path: Path) -> None:
    """Before validate has run there is nothing to compute from, and the error says what to run."""
    with pytest.raises(StoreError, match=r"accepted: .*`ratchet stage validate`"):
        featurize(parcels_project(tmp_path))
