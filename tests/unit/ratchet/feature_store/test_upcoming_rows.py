"""What the online store keeps of rows that are known to come, and what a request gets of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.feature_store.upcoming_rows import bring_forward, pack
from ratchet.use_case.columns import UPCOMING
from ratchet.use_case.contract import INSTANT

START = datetime(2024, 3, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    {
        "shop": pa.string(),
        "till": pa.int64(),
        "event_timestamp": INSTANT,
        "count": pa.int64(),
        "mean of it": pa.float64(),
        "is_open": pa.bool_(),
        "name": pa.string(),
    }
)
FEATURES = SCHEMA.names[3:]
Row = dict[str, Any]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "shop": st.sampled_from(["a", "b\n"]),
            "till": st.integers(0, 1),
            "event_timestamp": st.integers(0, 30).map(lambda seconds: START + timedelta(seconds=seconds)),
            "count": st.none() | st.integers(-(2**63), 2**63 - 1),
            "mean of it": st.none() | st.floats(allow_nan=False),
            "is_open": st.none() | st.booleans(),
            "name": st.none() | st.text(max_size=4),
        }
    ),
    unique_by=lambda row: (row["shop"], row["till"], row["event_timestamp"]),
    min_size=1,
    max_size=12,
)


def stored(rows: list[Row]) -> list[Row]:
    return list(pack(pa.Table.from_pylist(rows, SCHEMA), ["shop", "till"]).run(1, "1GB").to_pylist())


def asked(row: Row, timestamp: datetime) -> Row:
    """What a request of a timestamp gets of a stored row."""
    columns: dict[str, list[object]] = {name: [row[name]] for name in FEATURES}
    since = np.array([row["event_timestamp"].replace(tzinfo=None)], "datetime64[s]")
    bring_forward(columns, since, [row[UPCOMING]], np.array([timestamp.replace(tzinfo=None)], "datetime64[us]"))
    return {
        "shop": row["shop"],
        "till": row["till"],
        "event_timestamp": since.tolist()[0].replace(tzinfo=UTC),
        **{name: column[0] for name, column in columns.items()},
    }


@settings(max_examples=40)
@given(rows=ROWS, microseconds=st.integers(0, 32_000_000) | st.integers(0, 32).map(lambda second: second * 1_000_000))
def test_a_request_gets_the_last_row_that_is_not_later(rows: list[Row], microseconds: int) -> None:
    """To the bit, of every type, nulls and infinities with it; before all of a key's rows, the first one as it stands."""
    timestamp = START + timedelta(microseconds=microseconds)
    found = stored(rows)
    assert len({(row["shop"], row["till"]) for row in rows}) == len(found)
    for row in found:
        of_key = [one for one in rows if (one["shop"], one["till"]) == (row["shop"], row["till"])]
        of_key.sort(key=lambda one: one["event_timestamp"])
        expected = [one for one in of_key if one["event_timestamp"] <= timestamp] or of_key[:1]
        assert expected[-1] == asked(row, timestamp)


def test_a_number_that_is_none_stays_none() -> None:
    """As it does in the offline store, rather than break the text."""
    rows = [
        dict.fromkeys(SCHEMA.names) | {"shop": "a", "till": 0, "event_timestamp": START + n * timedelta(hours=1)}
        for n in (0, 1)
    ]
    rows[1]["mean of it"] = float("nan")
    assert asked(stored(rows)[0], START + timedelta(hours=2))["mean of it"] == pytest.approx(float("nan"), nan_ok=True)


def test_a_key_with_one_row_has_nothing_to_come() -> None:
    """Null, not a text without lines."""
    row = dict.fromkeys(SCHEMA.names) | {"shop": "a", "till": 0, "event_timestamp": START}
    assert [None] == [one[UPCOMING] for one in stored([row])]
