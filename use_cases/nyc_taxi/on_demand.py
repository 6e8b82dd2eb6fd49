"""Columns computed from a request and its features. Training, batch and online use the same function."""

from __future__ import annotations

import numpy as np

from ratchet.core.clock import local_time
from ratchet.use_case.contract import Columns
from use_cases.nyc_taxi.timezone import TIMEZONE

PARTS_OF_DAY = np.array(["night", "morning", "midday", "evening", "late"], dtype=object)
PARTS_BEGIN = np.array([6 * 60, 10 * 60, 16 * 60, 20 * 60])  # local minutes of the day
THURSDAY = 3  # the weekday of 1970-01-01


def on_demand(columns: Columns) -> Columns:
    """Calendar in local time and geometry in miles, for one or millions of requests joined with their features."""
    local = local_time(columns["event_timestamp"], TIMEZONE)
    day = local.astype("datetime64[D]")
    minute = (local - day).astype("timedelta64[m]").astype(np.float64)
    east = columns["dropoff_position__x_miles"] - columns["pickup_position__x_miles"]
    north = columns["dropoff_position__y_miles"] - columns["pickup_position__y_miles"]
    return {
        "minute_of_day": minute,
        "weekday": ((day.astype(np.int64) + THURSDAY) % 7).astype(np.float64),  # Monday is 0
        "day_part": PARTS_OF_DAY[PARTS_BEGIN.searchsorted(minute, side="right")],
        "passenger_count_known": np.where(np.isnan(columns["passenger_count"]), "no", "yes").astype(object),
        "miles_east": east,
        "miles_north": north,
        "miles_straight": np.hypot(east, north),
        "miles_by_blocks": np.abs(east) + np.abs(north),
        "same_zone": (columns["pickup_zone"] == columns["dropoff_zone"]).astype(np.float64),
    }
