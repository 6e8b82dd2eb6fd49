"""Columns computed from a request and its features, and post-processing. Training, batch and online use the same functions."""

from __future__ import annotations

import numpy as np

from ratchet.core.clock import calendar
from ratchet.use_case.contract import Array, Columns
from use_cases.demand.timezone import TIMEZONE

PARTS_OF_DAY = np.array(["night", "morning", "day", "evening"], dtype=object)


def on_demand(columns: Columns) -> Columns:
    """The hour and the kind of day in local time."""
    local = calendar(columns["event_timestamp"], TIMEZONE)
    day_off = (local["weekday"] >= 5) | (columns["day__is_holiday"] == 1)
    part = PARTS_OF_DAY[local["hour"].astype(np.int64) // 6]
    return {**local, "day_off": day_off.astype(np.float64), "part_of_day": part}


def never_negative(_columns: Columns, predictions: Array) -> Array:
    """The predictions, with 0 in place of negative numbers of rides."""
    return np.maximum(predictions, 0.0)
