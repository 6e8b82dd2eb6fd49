"""The synthetic city: deterministic day by day, as dirty as real months, and with a drift when asked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError
from ratchet.storage.arrow import to_columns
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import Array
from use_cases.nyc_taxi.simulator import simulator
from use_cases.nyc_taxi.tables import TRIPS, WEATHER, ZONES
from use_cases.nyc_taxi.timezone import TIMEZONE

JANUARY, MARCH, APRIL = date(2023, 1, 1), date(2023, 3, 1), date(2023, 4, 1)
FEW = {"trips_per_day": 30}


def batches(first: date, end: date, **options: Any) -> dict[tuple[str, str], Batch]:
    period = Period.between(first, end, TIMEZONE)
    return {(each.table, each.name): each for each in simulator("", options, period)}


def rows(table: str, batch: str, **options: Any) -> pa.Table:
    """A month by itself."""
    first = date.fromisoformat(f"{batch}-01")
    return batches(first, first + timedelta(days=1), **options)[table, batch].read()[0]


@pytest.fixture(scope="module")
def month() -> dict[str, Array]:
    """The trips of March 2023 in the default city."""
    return to_columns(rows("trips", "2023-03"))


def share(mask: Array) -> float:
    return float(np.mean(mask))


class TestDeterminism:
    @settings(max_examples=8)
    @given(seed=st.integers(0, 2**32), months=st.integers(1, 4), drift=st.none() | st.dates(JANUARY, date(2023, 6, 1)))
    def test_a_month_does_not_depend_on_other_months(self, seed: int, months: int, drift: date | None) -> None:
        """Whatever else is generated, March is March: the same rows and the same digest."""
        options = {"seed": seed, "trips_per_day": 5, "drift_from": drift}
        alone = batches(MARCH, date(2023, 3, 2), **options)
        among = batches(MARCH - timedelta(days=31 * months), APRIL + timedelta(days=40), **options)
        for key in alone:
            assert alone[key].digest == among[key].digest
            assert alone[key].read()[0].equals(among[key].read()[0])

    @settings(max_examples=8)
    @given(seed=st.integers(0, 2**32), drift=st.dates(date(2023, 3, 2), date(2023, 3, 31)))
    def test_days_before_a_drift_are_those_of_a_city_without_it(self, seed: int, drift: date) -> None:
        """Row for row, up to the midnight at which it begins; what differs has another digest."""
        plain, drifted = ({"seed": seed, "trips_per_day": 20, "drift_from": when} for when in (None, drift))
        midnight = Period.between(drift, APRIL, TIMEZONE).start
        before = [
            table.filter(pc.less(table["pickup_at"], midnight)).slice(0, 20)
            for table in (rows("trips", "2023-03", **options) for options in (plain, drifted))
        ]
        assert before[0].equals(before[1])
        keys = [("trips", "2023-03"), ("trips", "2023-04"), ("trips", "2023-02")]
        without, with_drift = (batches(date(2023, 2, 1), date(2023, 4, 2), **options) for options in (plain, drifted))
        assert [False, False, True] == [without[key].digest == with_drift[key].digest for key in keys]

    def test_the_seed_makes_another_city(self) -> None:
        """Other places, other trips, other digests."""
        assert not rows("trips", "2023-03", seed=1, **FEW).equals(rows("trips", "2023-03", seed=2, **FEW))
        digests = [batches(MARCH, APRIL, seed=seed)["zones", "zones"].digest for seed in (1, 2)]
        assert digests[0] != digests[1]

    def test_a_date_may_be_written_as_text(self) -> None:
        """As params.yaml has it."""
        texts, dates = (batches(MARCH, APRIL, drift_from=day) for day in ("2023-03-10", date(2023, 3, 10)))
        assert texts["trips", "2023-03"].digest == dates["trips", "2023-03"].digest

    @pytest.mark.parametrize("options", [{"trips_a_day": 3}, {"trips_per_day": 0}, {"drift_from": "soon"}])
    def test_options_that_mean_nothing_are_refused(self, options: dict[str, Any]) -> None:
        """Options are settings, too."""
        with pytest.raises(SettingsError, match=next(iter(options))):
            batches(MARCH, APRIL, **options)


class TestDeliveries:
    def test_are_those_of_the_real_source(self) -> None:
        """Months of trips, zones once, weather from the day before on, in canonical schemas."""
        found = batches(MARCH, APRIL, **FEW)
        schemas = {"trips": TRIPS, "zones": ZONES, "weather": WEATHER}
        assert [("trips", "2023-03"), ("zones", "zones"), ("weather", "2023-02"), ("weather", "2023-03")] == list(found)
        for (table, _), batch in found.items():
            assert schemas[table] == batch.read()[0].select(schemas[table].names).schema

    def test_every_zone_but_the_unknown_ones_lies_somewhere(self) -> None:
        """Positions in miles, null for 264 and 265."""
        zones = batches(MARCH, APRIL)["zones", "zones"].read()[0]
        nowhere = zones.filter(pc.is_null(zones["x_miles"]))["zone"].to_pylist()
        assert ([264, 265], 62) == (nowhere, zones.num_rows)

    def test_weather_is_known_a_local_day_later(self) -> None:
        """Also on the day that has 23 hours."""
        weather = rows("weather", "2023-03")
        spans = dict(zip(weather["day_start"].to_pylist(), weather["day_end"].to_pylist(), strict=True))
        assert datetime(2023, 3, 13, 4, tzinfo=UTC) == spans[datetime(2023, 3, 12, 5, tzinfo=UTC)]
        assert 31 == len(spans)


class TestTrips:
    def test_there_are_as_many_as_asked_for(self, month: dict[str, Array]) -> None:
        """About 2000 a day."""
        assert 31 * 2000 == pytest.approx(len(month["vendor"]), rel=0.03)

    def test_weekdays_and_hours_differ(self, month: dict[str, Array]) -> None:
        """The evening is busier than the night."""
        hours = month["pickup_at"].astype("datetime64[h]").astype(int) % 24
        assert np.sum(hours == 22) > 5 * np.sum(hours == 8)  # UTC: 17 or 18 against 3 or 4 o'clock

    def test_dirt_is_that_of_real_months(self, month: dict[str, Array]) -> None:
        """Each kind of dirt in about the share that real months have."""
        durations, stray = month["duration_seconds"], month["months_from_delivery"]
        keys = np.stack(
            [month[name].astype(np.int64) for name in ("pickup_at", "dropoff_at", "pickup_zone", "dropoff_zone")]
        )
        repeated = len(durations) - np.unique(keys, axis=1).shape[1]
        assert 0.06 < share(np.isnan(month["passenger_count"])) < 0.08
        assert 0.04 < share(month["distance_hundredths"] == 0) < 0.06
        assert 0.001 < share(month["total_cents"] < 0) < 0.004
        assert 0.03 < share((durations < 60) | (durations > 3600)) < 0.06
        assert 120 < repeated < 260
        assert {-1.0} <= set(stray[stray != 0])
        assert np.any(month["distance_hundredths"] > 100_000)
        assert np.any(np.isnat(month["pickup_at"]))  # the hour that the jump to summer time skips

    def test_some_clocks_stand_in_2008(self) -> None:
        """Once in some months."""
        months = [to_columns(rows("trips", f"2023-{month:02d}", trips_per_day=3000)) for month in (1, 2, 3)]
        years = np.concatenate([each["pickup_at"].astype("datetime64[Y]").astype(str) for each in months])
        assert {"2008", "2023"} <= set(years)

    def test_a_drift_changes_places_and_durations(self, month: dict[str, Array]) -> None:
        """Trips take longer, and start elsewhere."""
        drifted = to_columns(rows("trips", "2023-03", drift_from=MARCH))
        median, zone = (
            [np.median(each["duration_seconds"][~np.isnan(each["duration_seconds"])]) for each in (month, drifted)],
            [np.median(each["pickup_zone"]) for each in (month, drifted)],
        )
        assert median[1] > 1.3 * median[0]
        assert abs(zone[1] - zone[0]) > 10
