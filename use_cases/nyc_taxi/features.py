"""What is known when a trip is asked for: histories of completed trips, places, yesterday's weather, and the calendar."""

from __future__ import annotations

from functools import partial

import ibis
import numpy as np
from ibis import _

from ratchet.core.clock import local_time
from ratchet.use_case.contract import Columns, SourceTable, Tables, View
from ratchet.use_case.windows import UTC_INSTANT, Sums, just_after, total, trailing
from use_cases.nyc_taxi.tables import TIMEZONE

CITY = "nyc"
LONGEST_TRIP = "1h"  # that the rules accept
FARTHEST = 10_000  # hundredths of a mile: beyond that the meter is wrong, and at zero it was off
PARTS_OF_DAY = np.array(["night", "morning", "midday", "evening", "late"], dtype=object)
PARTS_BEGIN = (6 * 60, 10 * 60, 16 * 60, 20 * 60)  # local minutes of the day
THURSDAY = 3  # the weekday of 1970-01-01


def histories(trips: SourceTable) -> tuple[View, ...]:
    """Trips that were completed lately: from a zone, anywhere, and between two zones as of the last UTC midnight."""
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
    """The trips, and whether the meter told how far each was."""
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
    """The weather of a local day, from just after it has ended."""
    return tables["weather"].select(
        "wind_mph",
        "precipitation_inches",
        "snow_depth_inches",
        "high_fahrenheit",
        city=ibis.literal(CITY),
        event_timestamp=just_after(_.day_end),
    )


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
