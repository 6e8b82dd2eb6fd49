"""Views against a brute-force oracle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.features.expressions import compile_view
from tests.support.arrived import arrived
from use_cases.nyc_taxi import use_case
from use_cases.nyc_taxi.tables import midnights

START = datetime(2023, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Row = dict[str, Any]


@dataclass(frozen=True)
class History:
    tile: timedelta
    windows: dict[str, timedelta]


HISTORIES = {
    "pickup_zone_hourly": History(HOUR, {"1h": HOUR, "24h": DAY, "7d": 7 * DAY}),
    "city_traffic": History(HOUR, {"1h": HOUR, "24h": DAY}),
    "route": History(DAY, {"28d": 28 * DAY}),
}


def trip(minutes: float, seconds: int = 600, hundredths: int | None = 200, zones: tuple[int, int] = (1, 2)) -> Row:
    """A trip picked up some minutes after START."""
    pickup = START + timedelta(minutes=minutes)
    return {
        "vendor": 2,
        "city": "nyc",
        "pickup_zone": zones[0],
        "dropoff_zone": zones[1],
        "pickup_at": pickup,
        "dropoff_at": pickup + timedelta(seconds=seconds),
        "distance_hundredths": hundredths,
        "duration_seconds": seconds,
    }


TRIPS_OF_A_MONTH = st.lists(
    st.builds(
        trip,
        minutes=st.integers(0, 40 * 24 * 60) | st.integers(0, 40 * 24).map(lambda hour: hour * 60 - 10),
        seconds=st.integers(60, 3600) | st.just(600),
        hundredths=st.none() | st.sampled_from([0, 10, 250, 10_000, 10_001, 26_700_600]),
        zones=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    ),
    max_size=30,
)


@cache
def sql(view: str) -> str:
    """The view as the steps run it."""
    return compile_view(use_case, use_case.view(view)).sql


def compute(name: str, rows: list[Row], table: str = "trips") -> list[Row]:
    """The view's rows, in order of time and keys."""
    order = ", ".join(["event_timestamp", *use_case.view(name).keys])
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register(table, arrived(use_case.table(table), rows))
        found: list[Row] = connection.sql(f"FROM ({sql(name)}) ORDER BY {order}").to_arrow_table().to_pylist()
    return found


def oracle(history: History, trips: list[Row], at: datetime) -> Row:
    """The features at a timestamp by definition: a loop over the trips of one entity."""
    found: Row = {}
    for label, window in history.windows.items():
        inside = [each for each in trips if at - window <= each["dropoff_at"] < at]
        metered = [each for each in inside if 1 <= (each["distance_hundredths"] or 0) <= 10_000]
        seconds, metered_seconds = (sum(each["duration_seconds"] for each in part) for part in (inside, metered))
        hundredths = sum(each["distance_hundredths"] for each in metered)
        found |= {
            f"trips_{label}": len(inside),
            f"minutes_{label}": seconds / (60 * len(inside)) if inside else None,
            f"mph_{label}": hundredths * 36 / metered_seconds if metered else None,
            f"miles_{label}": hundredths / (100 * len(metered)) if metered else None,
        }
    return found


def entity(name: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in use_case.view(name).keys)


def features(name: str, row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in {*use_case.view(name).keys, "event_timestamp"}}


def expected(name: str, trips: list[Row], row: Row, at: datetime) -> Row:
    """What the oracle says of a row's entity, in the columns that the row has."""
    own = [each for each in trips if entity(name, each) == entity(name, row)]
    told = oracle(HISTORIES[name], own, at)
    return {feature: told[feature] for feature in features(name, row)}


@pytest.mark.parametrize("name", HISTORIES)
class TestHistories:
    @settings(max_examples=15)
    @given(trips=TRIPS_OF_A_MONTH)
    def test_are_what_a_loop_over_the_trips_gives(self, name: str, trips: list[Row]) -> None:
        """Bit for bit, at every row: only trips completed strictly before the row's timestamp count."""
        for row in compute(name, trips):
            assert expected(name, trips, row, row["event_timestamp"]) == features(name, row)

    @settings(max_examples=15)
    @given(trips=TRIPS_OF_A_MONTH, tiles=st.integers(0, 40 * 24))
    def test_the_newest_row_holds_until_the_next(self, name: str, trips: list[Row], tiles: int) -> None:
        """A count falls when a trip leaves its window, though nothing happens then."""
        at = START + HISTORIES[name].tile * tiles
        newest = {entity(name, row): row for row in compute(name, trips) if row["event_timestamp"] <= at}
        for row in newest.values():
            assert expected(name, trips, row, at) == features(name, row)

    @settings(max_examples=15)
    @given(trips=TRIPS_OF_A_MONTH, first=st.integers(0, 40), days=st.integers(1, 5))
    def test_rows_of_an_interval_need_only_their_lookback(
        self, name: str, trips: list[Row], first: int, days: int
    ) -> None:
        """Neither older trips nor later ones change them, nor whether there is a row."""
        start, lookback = START + timedelta(days=first), use_case.view(name).lookback
        assert lookback is not None
        end = start + timedelta(days=days)
        needed = [each for each in trips if start - lookback <= each["pickup_at"] < end]
        everything, enough = (
            [row for row in compute(name, some) if start <= row["event_timestamp"] < end] for some in (trips, needed)
        )
        assert everything == enough

    def test_a_trip_that_is_not_completed_is_no_history(self, name: str) -> None:
        """A row whose dropoff is not known yet gives nothing, not even a row."""
        assert [] == compute(name, [{**trip(0), "dropoff_at": None, "duration_seconds": None}])


def test_a_dropoff_on_the_hour_counts_a_second_later() -> None:
    """Known at 1:00 is not known strictly before 1:00, but it is at 1:00:01."""
    rows = compute("city_traffic", [trip(50)])
    assert (START + timedelta(hours=1, seconds=1), 1) == (rows[0]["event_timestamp"], rows[0]["trips_1h"])


class TestReferenceAndWeather:
    def test_a_position_holds_always(self) -> None:
        """From 2000 on; an unknown place has none."""
        since = datetime(2000, 1, 1, tzinfo=UTC)
        rows = compute("zone_position", [{"zone": 1, "x_miles": 1.5, "y_miles": 2.5}, {"zone": 265}], table="zones")
        assert [
            {"zone": 1, "x_miles": 1.5, "y_miles": 2.5, "event_timestamp": since},
            {"zone": 265, "x_miles": None, "y_miles": None, "event_timestamp": since},
        ] == rows

    def test_the_weather_of_a_day_is_a_feature_after_it(self) -> None:
        """Known at midnight, so used from just after it."""
        first, second = midnights([date(2023, 3, 1), date(2023, 3, 2)]).to_pylist()
        day = {"day_start": first, "day_end": second, "high_fahrenheit": 41.0}
        found = compute("city_weather", [day], table="weather")[0]
        expected = ("nyc", second + timedelta(seconds=1), 41.0)
        assert expected == (found["city"], found["event_timestamp"], found["high_fahrenheit"])
