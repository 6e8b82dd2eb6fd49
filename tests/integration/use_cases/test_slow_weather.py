"""Weather that is delivered days late: a request sees what had come by then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import labelled_requests
from ratchet.project.run import Run
from tests.support.killing import contents
from tests.support.taxi import taxi_project
from use_cases.nyc_taxi.timezone import TIMEZONE

MAX_AGE = timedelta(days=2)
Reading = tuple[datetime, datetime, float]
"""When a day of weather began and ended, and its highest temperature."""


@pytest.fixture(scope="module", params=[2, 5])
def lag(request: pytest.FixtureRequest) -> timedelta:
    """How long after a day its weather arrives; the view itself looks back two days."""
    return timedelta(days=request.param)


@pytest.fixture(scope="module")
def run(lag: timedelta, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small city whose weather arrives late."""
    run = taxi_project(tmp_path_factory.mktemp("city"), trips_per_day=20)
    run = run.with_settings(source=run.settings.source.model_copy(update={"lag": {"weather": lag}}))
    for step in (ingest, validate, featurize):
        step(run)
    return run


@pytest.fixture(scope="module")
def readings(run: Run) -> list[Reading]:
    found = (pq.read_table(path).to_pylist() for path in (run.paths.raw / "weather").glob("*.parquet"))
    return [(row["day_start"], row["day_end"], row["high_fahrenheit"]) for rows in found for row in rows]


def arrived(readings: list[Reading], lag: timedelta, request: datetime) -> Iterator[tuple[datetime, datetime, float]]:
    """When a reading had arrived, when its day began, and its value, of those that a request may see.

    A day ends at a full hour, and the feature pipeline runs hourly.
    """
    for begun, ended, high in readings:
        if ended + lag <= request <= ended + lag + MAX_AGE:
            yield ended + lag, begun, high


def test_requests_see_the_weather_that_had_come(run: Run, lag: timedelta, readings: list[Reading]) -> None:
    """With a lag of two days that of the third day before, and not that of yesterday; against a loop over the readings."""
    features = FeatureStore.open(run)
    apply(features)
    rows = labelled_requests(features, run.period("all"), run.as_of("training")).to_pylist()
    assert len(rows) > 500
    days_before: set[int] = set()
    for row in rows:
        request = row["event_timestamp"]
        _, begun, high = max(arrived(readings, lag, request))
        assert high == row["city_weather__high_fahrenheit"]
        if request.hour > 4:  # in an hour at 4, clocks that went forward since make it a day more
            days_before.add((local_day(request) - local_day(begun)).days)
    assert {lag.days + 1} == {*days_before}


def local_day(instant: datetime) -> date:
    return instant.astimezone(ZoneInfo(TIMEZONE)).date()


def test_a_day_by_itself_is_what_it_was_among_others(run: Run) -> None:
    """A lost date of the view is computed from as far back as the lag needs."""
    [folder] = (run.paths.features / "views").glob("city_weather_*")
    expected = contents(run.paths.features)
    for day in ("2023-03-01", "2023-03-20"):
        [path] = folder.glob(f"date={day}/*.parquet")
        path.unlink()
        featurize(run)
        assert expected == contents(run.paths.features)
