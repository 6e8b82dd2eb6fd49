"""What is known when a trip is asked for: histories of completed trips, places, yesterday's weather, and the calendar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import ibis
import numpy as np
from ibis import _

from ratchet.clock import local_time
from ratchet.use_case import Columns, Tables
from use_cases.nyc_taxi.tables import TIMEZONE

CITY = "nyc"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LONGEST_TRIP = HOUR  # that the rules accept
UTC_INSTANT = "timestamp('UTC', 6)"
FARTHEST = 10_000  # hundredths of a mile: beyond that the meter is wrong, and at zero it was off
SUMS = ("trips", "seconds", "metered_trips", "metered_seconds", "metered_hundredths")
PARTS_OF_DAY = np.array(["night", "morning", "midday", "evening", "late"], dtype=object)
PARTS_BEGIN = (6 * 60, 10 * 60, 16 * 60, 20 * 60)  # local minutes of the day
THURSDAY = 3  # the weekday of 1970-01-01
Sums = Mapping[str, ibis.Value]
Feature = Callable[[Sums], ibis.Value]


@dataclass(frozen=True)
class History:
    """Trailing windows over completed trips, in steps of a tile: each window is a whole number of tiles."""

    tile: timedelta
    windows: Mapping[str, timedelta]

    @property
    def longest(self) -> timedelta:
        return max(self.windows.values())

    @property
    def lookback(self) -> timedelta:
        """From when a tile leaves the longest window back to the earliest pickup that can have ended in the tile."""
        return self.longest + self.tile + LONGEST_TRIP


ZONE_HISTORY = History(HOUR, {"1h": HOUR, "24h": DAY, "7d": 7 * DAY})
CITY_HISTORY = History(HOUR, {"1h": HOUR, "24h": DAY})
ROUTE_HISTORY = History(DAY, {"28d": 28 * DAY})


def pickup_zone_hourly(tables: Tables) -> ibis.Table:
    """Trips from a zone that were completed in the last hour, day and week."""
    return _trailing(tables["trips"], ["pickup_zone"], ZONE_HISTORY, trips=_trips, minutes=_minutes, mph=_mph)


def city_traffic(tables: Tables) -> ibis.Table:
    """Trips anywhere that were completed in the last hour and day: how the streets flow."""
    trips = tables["trips"].mutate(city=ibis.literal(CITY))
    return _trailing(trips, ["city"], CITY_HISTORY, trips=_trips, minutes=_minutes, mph=_mph)


def route(tables: Tables) -> ibis.Table:
    """Trips between two zones that were completed in the last four weeks, as of the last UTC midnight."""
    keys = ["pickup_zone", "dropoff_zone"]
    return _trailing(tables["trips"], keys, ROUTE_HISTORY, trips=_trips, minutes=_minutes, miles=_miles)


def zone_position(tables: Tables) -> ibis.Table:
    """Where a zone lies, in miles east and north of a common point; null for the unknown zones."""
    since = ibis.timestamp("2000-01-01").cast(UTC_INSTANT)
    return tables["zones"].select("zone", "x_miles", "y_miles", event_timestamp=since)


def city_weather(tables: Tables) -> ibis.Table:
    """The weather of a local day, from the moment after it has ended."""
    return tables["weather"].select(
        "wind_mph",
        "precipitation_inches",
        "snow_depth_inches",
        "high_fahrenheit",
        city=ibis.literal(CITY),
        event_timestamp=(_.day_end + ibis.interval(seconds=1)).cast(UTC_INSTANT),
    )


def _trailing(trips: ibis.Table, keys: Sequence[str], history: History, /, **features: Feature) -> ibis.Table:
    """Each of `features` over each trailing window, named `{feature}_{window}`, with a row whenever one of them changes."""
    changes = _changes(_tiles(trips, keys, history.tile), keys, history.windows.values())
    columns: dict[str, ibis.Value] = {}
    for label, window in history.windows.items():
        over = ibis.range_window(
            group_by=keys, order_by="event_timestamp", preceding=ibis.interval(window - history.tile), following=0
        )
        sums = {name: changes[name].sum().over(over) for name in SUMS}
        columns |= {f"{name}_{label}": feature(sums) for name, feature in features.items()}
    return changes.select(*keys, "event_timestamp", **columns)


def _tiles(trips: ibis.Table, keys: Sequence[str], tile: timedelta) -> ibis.Table:
    """Integer sums over the trips completed within a tile of time; known strictly before its end, `event_timestamp`."""
    width = ibis.interval(tile)
    completed = trips.filter(_.dropoff_at.notnull()).mutate(
        event_timestamp=(_.dropoff_at.bucket(width) + width).cast(UTC_INSTANT),
        metered=_.distance_hundredths.between(1, FARTHEST),
    )
    return completed.group_by([*keys, "event_timestamp"]).agg(
        trips=_.count(),
        seconds=_.duration_seconds.sum(),
        metered_trips=_.count(where=_.metered),
        metered_seconds=_.duration_seconds.sum(where=_.metered),
        metered_hundredths=_.distance_hundredths.sum(where=_.metered),
    )


def _changes(tiles: ibis.Table, keys: Sequence[str], windows: Iterable[timedelta]) -> ibis.Table:
    """The tiles, and an empty one wherever a tile leaves a window, so that a count also falls when nothing happens."""
    nothing = {name: ibis.literal(0, "int64") for name in SUMS}
    leaving = [
        tiles.mutate(event_timestamp=(_.event_timestamp + ibis.interval(window)).cast(UTC_INSTANT), **nothing)
        for window in windows
    ]
    totals = {name: _[name].sum() for name in SUMS}
    return ibis.union(tiles, *leaving).group_by([*keys, "event_timestamp"]).agg(**totals)


def _trips(sums: Sums) -> ibis.Value:
    return sums["trips"].cast("int64")


def _minutes(sums: Sums) -> ibis.Value:
    """Mean duration."""
    return sums["seconds"] / (sums["trips"] * 60).nullif(0)


def _miles(sums: Sums) -> ibis.Value:
    """Mean distance by the meter."""
    return sums["metered_hundredths"] / (sums["metered_trips"] * 100).nullif(0)


def _mph(sums: Sums) -> ibis.Value:
    """Mean speed by the meter: 36 hundredths of a mile a second are one mile an hour."""
    return sums["metered_hundredths"] * 36 / sums["metered_seconds"].nullif(0)


def on_demand(columns: Columns) -> Columns:
    """Calendar in local time and geometry in miles. One row or millions, of requests joined with their features."""
    local = local_time(columns["event_timestamp"], TIMEZONE)
    day = local.astype("datetime64[D]")
    minute = (local - day).astype("timedelta64[m]").astype(np.float64)
    east = columns["dropoff_position__x_miles"] - columns["pickup_position__x_miles"]
    north = columns["dropoff_position__y_miles"] - columns["pickup_position__y_miles"]
    return {
        "minute_of_day": minute,
        "weekday": ((day.astype(np.int64) + THURSDAY) % 7).astype(np.float64),  # Monday is 0
        "day_part": PARTS_OF_DAY[np.digitize(minute, PARTS_BEGIN)],
        "passenger_count_known": np.where(np.isnan(columns["passenger_count"]), "no", "yes").astype(object),
        "miles_east": east,
        "miles_north": north,
        "miles_straight": np.hypot(east, north),
        "miles_by_blocks": np.abs(east) + np.abs(north),
        "same_zone": (columns["pickup_zone"] == columns["dropoff_zone"]).astype(np.float64),
    }
