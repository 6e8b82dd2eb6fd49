"""What goes wrong with a delivery, from the simulator through ingest, validate and featurize."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.clock import Period, local_midnight
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.partitions import files
from ratchet.use_case.batch import Batch
from tests.support.killing import contents
from tests.support.taxi import taxi_project
from tests.support.windows import at
from use_cases.nyc_taxi.simulator import simulator
from use_cases.nyc_taxi.tables import Month
from use_cases.nyc_taxi.timezone import TIMEZONE

START = date(2023, 2, 20)
OUT, BACK = date(2023, 3, 4), date(2023, 3, 7)
CLOSED = 20
EARLIER, LATER = (local_midnight(date(2023, 3, day), TIMEZONE) for day in (9, 16))
SWITCHES = {
    "late": {"share": 0.2, "after": "3d"},
    "corrections": {"share": 0.2, "after": "5d"},
    "duplicates": {"share": 0.1, "after": "1d"},
    "outage": {"first": str(OUT), "until": str(BACK)},
    "closed_zone": {"zone": CLOSED, "first": "2023-03-08"},
    "schema_change": {"kind": "new", "first": "2023-03-01"},
}


@dataclass(frozen=True)
class Seen:
    """What the feature pipeline made of an instant."""

    reports: dict[str, Report]
    features: dict[str, str]
    labels: Counter[tuple[datetime, float]]
    raw: list[dict[str, Any]]


def going_on(root: Path, **options: Any) -> Run:
    """A small city whose source goes on delivering."""
    run = taxi_project(root, trips_per_day=60, **options)
    return run.with_settings(source=run.settings.source.model_copy(update={"history": False}))


def compute(run: Run, instant: datetime) -> Seen:
    """Bring everything up to an instant."""
    then = at(run, instant)
    reports = {step.__name__: step(then) for step in (ingest, validate, featurize)}
    labels = Counter((row["event_timestamp"], row["label"]) for row in rows(run.paths.features / "labels"))
    return Seen(reports, contents(run.paths.features), labels, rows(run.paths.raw / "trips"))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in files(folder) for row in pq.read_table(path, partitioning=None).to_pylist()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything goes wrong in it."""
    return going_on(tmp_path_factory.mktemp("city"), **SWITCHES)


@pytest.fixture(scope="module")
def earlier(run: Run) -> Seen:
    """As of an instant after the outage."""
    return compute(run, EARLIER)


@pytest.fixture(scope="module")
def later(run: Run, earlier: Seen) -> Seen:
    """As of a week later."""
    assert earlier
    return compute(run, LATER)


def delivered(instant: datetime) -> Iterator[dict[str, Any]]:
    """The trips that the simulator has delivered by then, the first of each key."""
    keys = set()
    period = Period(local_midnight(START, TIMEZONE), instant)
    for batch in simulator("", {"trips_per_day": 60, **SWITCHES}, period):
        if isinstance(batch, Batch) and batch.table == "trips":
            for row in batch.read()[0].to_pylist():
                key = tuple(row[name] for name in ("vendor", "pickup_at", "pickup_zone", "dropoff_zone"))
                if not row.get("unreadable") and 60 <= row["duration_seconds"] <= 3600 and key not in keys:
                    keys.add(key)
                    yield row


def expected(instant: datetime) -> Counter[tuple[datetime, float]]:
    """Pickup and minutes of each, by a loop."""
    begins = local_midnight(START, TIMEZONE)
    return Counter(
        (row["pickup_at"], row["duration_seconds"] / 60)
        for row in delivered(instant)
        if begins <= row["pickup_at"] < instant and row["months_from_delivery"] in {-1, 0, 1}
    )


def test_every_row_is_accounted_for(earlier: Seen, later: Seen) -> None:
    """As of both instants; what is delivered again is a duplicate."""
    for seen in (earlier, later):
        counts = seen.reports["validate"]["tables"]["trips"]
        assert counts["raw"] == counts["accepted"] + counts["quarantined"] + counts["duplicates"] == len(seen.raw)
        assert seen.reports["ingest"]["delivered"] == seen.reports["ingest"]["rows"]
    again = len(later.raw) - len(
        {tuple(row[name] for name in ("vendor", "pickup_at", "pickup_zone", "dropoff_zone")) for row in later.raw}
    )
    assert 0.05 * len(later.raw) < later.reports["validate"]["tables"]["trips"]["duplicates"] <= again


def test_labels_are_those_delivered_by_then(earlier: Seen, later: Seen) -> None:
    """The wrong durations before, the corrected ones after; late trips only after."""
    assert expected(EARLIER) == earlier.labels
    assert expected(LATER) == later.labels
    within = {pickup for pickup, _ in earlier.labels}
    corrected = [*(earlier.labels - later.labels)]
    assert corrected
    afterwards = dict(later.labels.elements())
    assert {True} == {
        pytest.approx(minutes - 5) == afterwards.get(pickup, 0) or minutes < 6 for pickup, minutes in corrected
    }
    late = [pickup for pickup, _ in later.labels if pickup < EARLIER and pickup not in within]
    assert late


def test_reports_name_what_came_late_and_was_corrected(earlier: Seen, later: Seen) -> None:
    """By batch, with the instant as of which it came."""
    nothing = {"late": {}, "corrected": {}}
    assert nothing == {name: earlier.reports["ingest"][name] for name in nothing}
    late, corrected = (later.reports["ingest"][name]["trips"] for name in nothing)
    assert late == {
        batch: sum(row["row_late_at"] == LATER for row in later.raw if row["row_id"].startswith(batch))
        for batch in late
    }
    assert late["2023-03"] > 0
    assert corrected["2023-03"][LATER.isoformat()]["changed"] > 0


def test_the_earlier_instant_stays_as_it_was(run: Run, earlier: Seen, later: Seen) -> None:
    """Computed again after everything has come, to the bytes that it had; and then the later one."""
    assert earlier.features != later.features
    assert earlier.features == compute(run, EARLIER).features
    compute(run, local_midnight(date(2023, 2, 27), TIMEZONE))  # before the first trip of March
    assert later.features == compute(run, LATER).features


def test_features_say_what_an_outage_leaves_open(run: Run, later: Seen) -> None:
    """For each view on trips the time of which its windows reach into the gap; what does not read trips is complete."""
    gap = Period.between(OUT, BACK, TIMEZONE)
    name = f"{OUT} to {BACK}"
    assert {"trips": {name: str(gap)}} == later.reports["ingest"]["gaps"]
    found = later.reports["featurize"]["gaps"]
    views = {view.rpartition("_")[0]: gaps for view, gaps in found.items() if "_" in view}
    week = run.use_case.view("pickup_zone_hourly").lookback
    assert week is not None
    assert {"pickup_zone_hourly", "city_traffic", "route"} == {*views}
    assert {f"trips/{name}": str(Period(gap.start, gap.end + week))} == views["pickup_zone_hourly"]
    assert {f"trips/{name}": str(Period(gap.start, LATER))} == views["route"]
    assert {f"trips/{name}": str(gap)} == found["requests"] == found["labels"]
    days = {(pickup - timedelta(hours=5)).date() for pickup, _ in later.labels}
    assert {OUT + timedelta(days=day) for day in range(3)} == {START + timedelta(days=day) for day in range(24)} - days


def test_a_closed_zone_and_a_new_column_are_seen(later: Seen) -> None:
    """No trip touches the zone from then on; the column is named with its type."""
    closed = datetime(2023, 3, 8, 5, tzinfo=UTC)
    touching = [row for row in later.raw if CLOSED in (row["pickup_zone"], row["dropoff_zone"]) and row["pickup_at"]]
    assert touching
    assert not [row for row in touching if row["pickup_at"] >= closed]
    notes = later.reports["ingest"]["notes"]["trips"]
    named = {
        batch for batch in notes for note in notes[batch] if note.startswith("cbd_congestion_fee (double): dropped")
    }
    assert {"2023-03"} == named


def test_a_month_without_a_column_is_a_gap(tmp_path: Path) -> None:
    """It is rejected with the line to add; the months before it are read, and features say what they lack."""
    month = Month(date(2023, 3, 1))
    changed = going_on(tmp_path, schema_change={"kind": "vanished", "first": str(month.first)})
    reports = compute(changed, month.end).reports
    assert "simulated 2023-03: lacks column trip_type" in reports["ingest"]["rejected"]["trips"]["2023-03"]
    assert {"2023-03": str(month.period)} == reports["ingest"]["gaps"]["trips"]
    assert reports["ingest"]["rows"]["trips"] > 0
    assert "trips/2023-03" in reports["featurize"]["gaps"]["requests"]
