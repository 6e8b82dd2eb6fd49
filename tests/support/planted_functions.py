"""Functions to plant into a use case as its `on_demand` or `postprocess`: those of mistakes, and those of other tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from ratchet.use_case.contract import Array, Columns


def since_the_first(columns: Columns) -> Columns:
    """Seconds after the earliest of the requests that are asked for together."""
    timestamps = columns["event_timestamp"]
    return {"made": np.asarray((timestamps - timestamps.min()) / np.timedelta64(1, "s"))}


def one_value(_columns: Columns) -> Columns:
    return {"made": np.ones(1)}


def not_for_one(columns: Columns) -> Columns:
    if len(columns["event_timestamp"]) == 1:
        raise ValueError("one row is too few")
    return {"made": np.zeros(len(columns["event_timestamp"]))}


def twice_the_label(columns: Columns) -> Columns:
    return {"outcome": columns["label"] * 2}


def adding_in_place(columns: Any) -> Columns:
    columns["twice"] = 2.0 * columns["booked_days_ahead"]
    return columns


def failing_on_demand(_columns: Columns) -> Columns:
    raise ValueError("could not convert 'x'")


def word(columns: Columns) -> Columns:
    return {"word": np.full(len(columns["event_timestamp"]), "x", dtype=object)}


def one_group(columns: Columns) -> Columns:
    return {"all": np.ones(len(columns["event_timestamp"]))}


def whether_labelled(columns: Columns) -> Columns:
    """Whether it gets to see the label."""
    return {"seen": np.full(len(columns["event_timestamp"]), float("label" in columns))}


def less_the_mean(_columns: Columns, numbers: Array) -> Array:
    return numbers - numbers.mean()


def the_first(_columns: Columns, numbers: Array) -> Array:
    return numbers[:1]


def failing_postprocess(_columns: Columns, _numbers: Array) -> Array:
    raise ValueError("no such number")


def never_in_the_north(columns: Columns, numbers: Array) -> Array:
    return np.where(columns["clinic"] == "north", 0.0, numbers)
