"""What is known when a trip begins: histories of completed trips, places, and yesterday's weather."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import ibis
from ibis import _

from ratchet.use_case.contract import SourceTable, Tables, View
from ratchet.use_case.newest import newest
from ratchet.use_case.windows import UTC_INSTANT, Sums, total, trailing

CITY = "nyc"
LONGEST_TRIP = "1h"  # the longest that the rules accept
FARTHEST = 10_000  # hundredths of a mile: beyond that the meter is wrong, and at zero it was off


def histories(trips: SourceTable) -> tuple[View, ...]:
    """Recently completed trips: from a zone, anywhere, and between two zones as of the last UTC midnight."""
    sums = {
        "trips": 1,
        "seconds": _.duration_seconds,
        "metered_trips": _.metered,
        "metered_seconds": _.metered.ifelse(_.duration_seconds, 0),
        "metered_hundredths": _.metered.ifelse(_.distance_hundredths, 0),
    }
    declare = partial(trailing, table=trips, delay=LONGEST_TRIP, sums=sums, rows=_metered)
    traffic = {"trips": total("trips"), "minutes": _minutes, "mph": _mph}
    travel = {"trips": total("trips"), "minutes": _minutes, "miles": _miles}
    return (
        declare("pickup_zone_hourly", ("pickup_zone",), tile="1h", windows=("1h", "24h", "7d"), features=traffic),
        declare("city_traffic", ("city",), tile="1h", windows=("1h", "24h"), features=traffic),
        declare("route", ("pickup_zone", "dropoff_zone"), tile="1d", windows=("28d",), features=travel),
    )


def _metered(tables: Tables) -> ibis.Table:
    """The trips, and whether the meter measured the distance of each."""
    return tables["trips"].mutate(city=ibis.literal(CITY), metered=_.distance_hundredths.between(1, FARTHEST))


def _minutes(sums: Sums) -> ibis.Value:
    """Mean duration."""
    return sums["seconds"] / (sums["trips"] * 60).nullif(0)


def _miles(sums: Sums) -> ibis.Value:
    """Mean distance by the meter."""
    return sums["metered_hundredths"] / (sums["metered_trips"] * 100).nullif(0)


def _mph(sums: Sums) -> ibis.Value:
    """Mean speed by the meter: 36 hundredths of a mile a second are one mile an hour."""
    return sums["metered_hundredths"] * 36 / sums["metered_seconds"].nullif(0)


def zone_position(tables: Tables) -> ibis.Table:
    """Where a zone lies, in miles east and north of a common point; null for the unknown zones."""
    since = ibis.timestamp("2000-01-01").cast(UTC_INSTANT)
    return tables["zones"].select("zone", "x_miles", "y_miles", event_timestamp=since)


def city_weather(tables: Tables) -> ibis.Table:
    """The weather of the last local day that is known. It counts from when it is available, after the end of that day."""
    weather = tables["weather"].mutate(city=ibis.literal(CITY))
    return newest(weather, ("city",), "day_start", within=timedelta(days=1)).select(
        "wind_mph",
        "precipitation_inches",
        "snow_depth_inches",
        "high_fahrenheit",
        "city",
        event_timestamp=_.row_available_at,
    )
