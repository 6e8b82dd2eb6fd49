"""The taxi use case through the real steps: quarantine for the right reasons, and features that know no future."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.clock import Period, utc_time
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import ROW_ID
from tests.support.accepted import check_for_leaks
from tests.support.checkout import commit, plain_checkout, run_command
from tests.support.messages import missing
from tests.support.rows import accepted_places, raw_places
from tests.support.rules import failing_rows
from tests.support.taxi import between, deliver_month, deliver_reference, delivered, real_months, taxi_project
from tests.support.windows import with_days
from use_cases.nyc_taxi.rules import TRIP_RULES
from use_cases.nyc_taxi.sources import tlc
from use_cases.nyc_taxi.tables import TRIPS, Month, trips
from use_cases.nyc_taxi.timezone import TIMEZONE

NAIVE_COUNT = 69_270
"""Distinct keys of pickups of 2023-03 whose naive local times are 1 to 60 minutes apart, in the files of 02, 03 and 04."""
ACROSS_THE_JUMP = 14
"""And those that seem an hour longer, because they span the jump to summer time."""


def reasons(*changes: dict[str, object]) -> dict[int, list[str]]:
    """Place of a trip → the rules that it breaks."""
    rows = trips(delivered(*changes), Month(date(2023, 3, 1)), "march")[0]
    ids = pa.array([str(place) for place in range(rows.num_rows)])
    found: dict[int, list[str]] = {}
    for reason, row_ids in failing_rows(TRIP_RULES, rows.add_column(0, ROW_ID, ids), "march").items():
        for row_id in row_ids:
            found.setdefault(int(row_id), []).append(reason)
    return found


class TestRules:
    def test_every_trip_that_somebody_might_ask_about_is_accepted(self) -> None:
        """Oddities of the record are no reason: only a trip that is none is."""
        assert {} == reasons(
            {"passenger_count": None, "trip_type": None},
            {"trip_distance": 0.0, "total_amount": -12.5},
            {"trip_distance": 267006.0},
            {"PULocationID": 264, "DOLocationID": 265},
            between("2023-03-06T10:00:00", "2023-03-06T10:01:00"),
            between("2023-03-06T10:00:00", "2023-03-06T11:00:00"),
            between("2023-02-10T10:00", "2023-02-10T10:10"),
            between("2023-04-28T10:00", "2023-04-28T10:10"),
        )

    def test_every_other_is_quarantined_with_its_reasons(self) -> None:
        """Too short, too long, from another year, from a zone that there is not; or several of these."""
        duration, month = "duration_outside_1_to_60_minutes", "pickup_outside_delivered_months"
        assert {
            0: [duration],
            1: [duration],
            2: [duration],
            3: [month],
            4: ["unknown_pickup_zone"],
            5: ["unknown_dropoff_zone"],
            6: [duration, month],
        } == reasons(
            between("2023-03-06T10:00:00", "2023-03-06T10:00:59"),
            between("2023-03-06T10:00:00", "2023-03-06T11:00:01"),
            between("2023-03-06T10:00:00", "2023-03-06T09:50:00"),
            between("2008-12-31T23:00", "2008-12-31T23:10"),
            {"PULocationID": 0},
            {"DOLocationID": 266},
            between("2008-12-31T23:00", "2009-01-01T16:00"),
        )


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six validated weeks of a small synthetic city."""
    run = taxi_project(tmp_path_factory.mktemp("city"), trips_per_day=60)
    ingest(run)
    validate(run)
    return run


class TestSyntheticCity:
    def test_loses_no_row_and_quarantines_what_is_dirty(self, city: Run) -> None:
        """Every raw row is accepted or in quarantine, and each kind of dirt is met."""
        report = validate(city)
        found = [*accepted_places(city.paths.data, city.use_case.tables), *raw_places(city.paths.quarantine)]
        assert raw_places(city.paths.raw) == sorted(found)
        assert {"duration_outside_1_to_60_minutes", "unreadable_pickup_at", "duplicate_key"} <= set(report["reasons"])

    def test_features_and_requests_know_no_future(self, city: Run) -> None:
        """Cut off within an hour, on the hour, and at local midnight, nothing that was computed before changes."""
        timestamps = [(3, 10, 17, 23), (3, 20, 12, 0), (3, 28, 4, 0)]
        report = check_for_leaks(city, [datetime(2023, *timestamp, tzinfo=UTC) for timestamp in timestamps])
        assert dict.fromkeys(report.changed, 0) == report.changed
        assert {"pickup_zone_hourly", "city_traffic", "route", "city_weather", "requests", "labels"} == set(
            report.changed
        )
        assert report.passed


def test_a_missing_month_is_a_gap_and_the_rest_goes_on(tmp_path: Path) -> None:
    """January and March without February: what is there is computed, and the reports say which rows are not complete."""
    for month in ("01", "03"):
        deliver_month(
            tmp_path / "months",
            f"2023-{month}",
            delivered(
                *[between(f"2023-{month}-{day:02}T10:00", f"2023-{month}-{day:02}T10:15") for day in range(1, 30)]
            ),
        )
    deliver_reference(tmp_path / "ref")
    days = (date(2023, 1, 1), date(2023, 1, 10), date(2023, 1, 20), date(2023, 3, 1), date(2023, 4, 1))
    run = with_days(taxi_project(tmp_path, source="tlc", path=str(tmp_path / "months")), days)
    found, _, features = (step(run) for step in (ingest, validate, featurize))
    february = Period.between(date(2023, 2, 1), date(2023, 3, 1), TIMEZONE)
    assert str(february) == found["gaps"]["trips"]["2023-02"]
    assert {"trips/2023-02": str(february)} == features["gaps"]["requests"]
    hourly = next(gaps for view, gaps in features["gaps"].items() if view.startswith("pickup_zone_hourly"))
    assert [] == missing(hourly["trips/2023-02"], february.start.isoformat(), "2023-03-08T07:00:00+00:00")
    weather = next(gaps for view, gaps in features["gaps"].items() if view.startswith("city_weather"))
    assert "weather/2023-01" in weather
    assert 58 == features["requests"]


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Accepted trips of the files of 2023-02 to 2023-04."""
    days = (date(2023, 2, 1), date(2023, 2, 20), date(2023, 3, 1), date(2023, 4, 1), date(2023, 4, 15))
    run = with_days(taxi_project(tmp_path_factory.mktemp("real"), source="tlc", path=str(real_months())), days)
    ingest(run)
    validate(run)
    return run.paths.accepted / "trips"


Spoil = Callable[[pa.Table, pa.Table], pa.Table]


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validated trips of January to April 2023, in a folder of their own."""
    root = tmp_path_factory.mktemp("months")
    real, folder = Path(str(real_months())), root / "months"
    for month in ("01", "02", "03", "04"):
        deliver_month(folder, f"2023-{month}", pq.read_table(real / f"green_tripdata_2023-{month}.parquet"))
    run = four_months(root)
    ingest(run)
    validate(run)
    return root


@pytest.fixture
def months(validated: Path, tmp_path: Path) -> Run:
    """A copy of them, to be spoilt."""
    return four_months(Path(shutil.copytree(validated, tmp_path / "copy")))


def four_months(root: Path) -> Run:
    days = (date(2023, 1, 1), date(2023, 2, 1), date(2023, 3, 1), date(2023, 4, 1), date(2023, 5, 1))
    reference = str(Path(str(real_months())).parent / "ref")
    run = taxi_project(root, source="tlc", path=str(root / "months"), reference=reference)
    return with_days(run, days)


def garbled(rows: pa.Table, share: float) -> pa.Table:
    """Random zones and amounts, and dropoffs before pickups, in some of the rows."""
    rng = np.random.default_rng(1)
    where = pa.array(rng.random(rows.num_rows) < share)
    random = pa.array(rng.integers(-(10**6), 10**6, rows.num_rows))
    for name in ("PULocationID", "DOLocationID", "trip_distance"):
        column = rows.schema.get_field_index(name)
        garbage = pc.if_else(where, random.cast(rows[name].type), rows[name])
        rows = rows.set_column(column, rows.schema.field(name), garbage)
    return rows


def as_if_utc(rows: pa.Table) -> pa.Table:
    """The naive local times replaced by naive times of UTC."""
    for name in ("lpep_pickup_datetime", "lpep_dropoff_datetime"):
        utc = utc_time(rows[name].cast(pa.timestamp("us")).to_numpy(), TIMEZONE)
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(utc))
    return rows


@pytest.mark.skipif(real_months() is None, reason="needs the real months: set TLC_DATA to their folder")
class TestRealMonths:
    def test_every_pickup_of_march_with_a_duration_of_1_to_60_minutes_is_accepted(self, accepted: Path) -> None:
        """No other filter: the naive count, and the trips that only seem an hour too long."""
        march = Period.between(date(2023, 3, 1), date(2023, 4, 1), TIMEZONE)
        query = f"""
            SELECT count(*), count(DISTINCT (vendor, pickup_at, pickup_zone, dropoff_zone)),
                   avg((passenger_count IS NULL)::INT) BETWEEN 0.06 AND 0.08, min(total_cents) < 0
            FROM '{accepted}/*/*.parquet'
            WHERE pickup_at >= '{march.start.isoformat()}' AND pickup_at < '{march.end.isoformat()}'
        """
        n = NAIVE_COUNT + ACROSS_THE_JUMP
        assert [(n, n, True, True)] == duckdb.sql(query).fetchall()

    @pytest.mark.soak
    @pytest.mark.parametrize(
        ("spoil", "kind", "check"),
        [
            (lambda april, _march: april, "", ""),
            (lambda april, _march: garbled(april, 0.3), "refused", "quarantined"),
            (lambda april, _march: garbled(april, 1.0), "refused", "quarantined"),
            (lambda april, _march: april.take(np.arange(0, april.num_rows, 2)), "warned", "volume"),
            (lambda april, _march: april.slice(0, april.num_rows // 2), "warned", "days"),
            (lambda april, _march: as_if_utc(april), "refused", "shifted"),
            (lambda _april, march: march, "warned", "repeated"),
        ],
    )
    def test_a_spoilt_april_is_named(self, months: Run, spoil: Spoil, kind: str, check: str) -> None:
        """Refused or warned of by what is wrong with it; an April as it was, with its own dirt, is not."""
        folder = Path(months.settings.source.path)
        march, april = (
            pq.read_table(Path(str(real_months())) / f"green_tripdata_2023-{month}.parquet") for month in ("03", "04")
        )
        deliver_month(folder, "2023-04", spoil(april, march))
        ingest(months)
        report = validate(months)
        found = {
            (kind, unit, each["check"])
            for kind in ("refused", "warned")
            for unit, findings in report[kind].items()
            for each in findings
        }
        assert ({(kind, "trips/2023-04", check)} if kind else set()) <= found
        assert {(kind, "trips/2023-04")} >= {(named, unit) for named, unit, _ in found}
        assert ("repeats trips/2023-03" in str(report)) == (check == "repeated")

    @pytest.mark.soak
    def test_the_main_job_is_as_good_as_readme_says(self, tmp_path: Path) -> None:
        """`make demo DATA=…`: every such pickup of March is judged, LightGBM is superior, and wrong by 5.1 minutes at most."""
        checkout = plain_checkout(tmp_path)
        commit(checkout, "Begin")
        run_command(
            checkout,
            "python",
            "-m",
            "cli.commands.demo",
            "--source",
            "tlc",
            "--path",
            str(Path(str(real_months())).resolve()),
        )
        summary = read_json(checkout / "reports" / "summary.json")
        candidate = summary["holdout"]["candidate"]
        assert (NAIVE_COUNT + ACROSS_THE_JUMP, "superior") == (candidate["n"], summary["gate"]["verdict"])
        assert candidate["rmse"] <= 5.10

    @pytest.mark.parametrize(
        ("first", "passengers", "vendor"),
        [
            (date(2021, 1, 1), "double", "int64"),
            (date(2023, 1, 1), "double", "int64"),
            (date(2023, 6, 1), "int64", "int32"),
        ],
    )
    def test_every_month_has_one_schema(self, first: date, passengers: str, vendor: str) -> None:
        """Float codes and all-null columns of one year are integers of another; no value is lost, and it is noted."""
        period = Period.between(first, first.replace(day=2), TIMEZONE)
        batch = next(iter(tlc(str(real_months()), {}, period)))
        assert isinstance(batch, Batch)
        table, notes = batch.read()
        file = pq.read_table(Path(str(real_months())) / f"green_tripdata_{batch.name}.parquet", partitioning=None)
        assert TRIPS == table.select(TRIPS.names).schema
        assert 1 == len([note for note in notes if note.startswith("RatecodeID")])
        for source, name, kind in (("VendorID", "vendor", vendor), ("passenger_count", "passenger_count", passengers)):
            assert (f"{source}: {kind} → {name} int64" in notes) == (kind != "int64")
            assert file[source].to_pylist() == table[name].to_pylist()

    @pytest.mark.parametrize("month", ["2021-01", "2023-03"])
    def test_a_month_under_the_names_of_the_open_data_portal_has_the_same_trips(self, month: str) -> None:
        """Headers in lower case are the same columns, whatever their types are in that year."""
        rows = pq.read_table(Path(str(real_months())) / f"green_tripdata_{month}.parquet", partitioning=None)
        lower = rows.rename_columns([name.lower() for name in rows.column_names])
        of_month = Month(date.fromisoformat(f"{month}-01"))
        assert trips(rows, of_month, month)[0].equals(trips(lower, of_month, month)[0])

    def test_every_zone_has_a_position_but_the_two_unknown_ones(self) -> None:
        """The derived centroids repeat 56 and 103, and lack five."""
        period = Period.between(date(2023, 3, 1), date(2023, 3, 2), TIMEZONE)
        zones = next(each for each in tlc(str(real_months()), {}, period) if each.table == "zones")
        table, notes = zones.read()
        assert 265 == table.num_rows
        names = ("[56, 103]: the mean", "[57, 104, 105]: that", "[264, 265]: unknown")
        assert [[]] * 3 == [missing(note, name) for note, name in zip(notes, names, strict=True)]
