"""The on-demand function, one row at a time and all at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.use_case.contract import Array
from use_cases.nyc_taxi.on_demand import on_demand

INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 - UTC, as columns hold it
MILES = st.none() | st.floats(-100, 300)


def columns(rows: list[tuple[Any, ...]]) -> dict[str, Array]:
    """Requests joined with positions, as training and serving have them."""
    names = (
        "passenger_count",
        "pickup_zone",
        "dropoff_zone",
        "pickup_position__x_miles",
        "pickup_position__y_miles",
        "dropoff_position__x_miles",
        "dropoff_position__y_miles",
    )
    timestamps, *numbers = zip(*rows, strict=True)
    return {
        "event_timestamp": np.array(timestamps, "datetime64[us]"),
        **{name: np.array(values, dtype=np.float64) for name, values in zip(names, numbers, strict=True)},
    }


@given(
    rows=st.lists(
        st.tuples(
            INSTANTS,
            st.none() | st.integers(0, 9),
            st.integers(1, 3),
            st.integers(1, 3),
            MILES,
            MILES,
            MILES,
            MILES,
        ),
        min_size=1,
        max_size=40,
    )
)
def test_one_row_gives_what_a_million_give(rows: list[tuple[Any, ...]]) -> None:
    """Bit for bit: training and serving share the function, and a row does not see its neighbours."""
    together = on_demand(columns(rows))
    for place, row in enumerate(rows):
        for name, values in on_demand(columns([row])).items():
            np.testing.assert_array_equal(values[0], together[name][place])


@pytest.mark.parametrize(
    ("utc", "weekday", "minute", "part"),
    [
        ("2023-03-12T06:59", 6, 119, "night"),  # a minute before the jump to summer time
        ("2023-03-12T07:00", 6, 180, "night"),
        ("2023-03-12T10:00", 6, 360, "morning"),
        ("2023-11-05T05:30", 6, 90, "night"),  # the same local time twice
        ("2023-11-05T06:30", 6, 90, "night"),
        ("2023-03-06T15:00", 0, 600, "midday"),
        ("2023-03-06T21:00", 0, 960, "evening"),
        ("2023-03-07T01:00", 0, 1200, "late"),
        ("2023-03-07T05:00", 1, 0, "night"),
    ],
)
def test_the_calendar_is_local(utc: str, weekday: int, minute: int, part: str) -> None:
    """Weekday from Monday, minute of the day and part of the day on New York's clocks."""
    made = on_demand(columns([(utc, 1, 1, 2, 0, 0, 0, 0)]))
    assert (weekday, minute, part) == (made["weekday"][0], made["minute_of_day"][0], made["day_part"][0])


def test_distances() -> None:
    """Miles east and north, straight and by blocks; NaN where a place is unknown."""
    made = on_demand(columns([("2023-03-06", None, 1, 2, 1, 1, 4, -3), ("2023-03-06", 2, 1, 1, None, 1, 4, 5)]))
    assert [3, -4, 5, 7] == [
        made[name][0] for name in ("miles_east", "miles_north", "miles_straight", "miles_by_blocks")
    ]
    assert np.isnan(made["miles_straight"][1])
    assert (["no", "yes"], [0.0, 1.0]) == (made["passenger_count_known"].tolist(), made["same_zone"].tolist())
