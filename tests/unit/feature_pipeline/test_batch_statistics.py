"""Statistics of a batch: what later batches are compared with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feature_pipeline.batch_statistics import Statistics, statistics, usual_ranges, usual_values
from ratchet.use_case.contract import INSTANT, SourceTable

SCHEMA = pa.schema(
    {
        "shop": pa.string(),
        "at": INSTANT,
        "amount": pa.float64(),
        "paid_at": INSTANT,
        "tip": pa.int64(),
        "ok": pa.bool_(),
    }
)
SALES = SourceTable("sales", SCHEMA, key=("shop", "at"), event_time="at", known_at="paid_at", early=("amount",))
MONDAY = datetime(2024, 1, 1, 4, 40, tzinfo=UTC)
"""Still Sunday in New York."""


def sales(rows: int, **changed: Any) -> pa.Table:
    """Sales, an hour apart."""
    times = [MONDAY + timedelta(hours=row) for row in range(rows)]
    columns = {
        "shop": ["a", "b"] * (rows // 2),
        "at": times,
        "amount": [float(row) for row in range(rows)],
        "paid_at": times,
        "tip": [row % 10 for row in range(rows)],
        "ok": [True] * rows,
    }
    return pa.table({**columns, **changed}, schema=SCHEMA)


def test_of_numbers_texts_and_times() -> None:
    """Single rows at the ends decide neither range nor days, nor until when there are rows."""
    found = statistics(SALES, "America/New_York", sales(1000, amount=[1e9, *range(998), None]))
    assert (1000, ("a", "b")) == (found.rows, found.values["shop"])
    assert {"amount": (10.0, 988.0), "tip": (0.0, 9.0)} == {
        "amount": found.ranges["amount"],
        "tip": found.ranges["tip"],
    }
    assert {"amount": 0.001, "tip": 0.0} == {name: found.nulls[name] for name in ("amount", "tip")}
    assert found.times is not None
    assert 41.6 == pytest.approx(found.times.days, abs=0.1)
    assert MONDAY + timedelta(hours=990) < found.times.until < MONDAY + timedelta(hours=999)
    assert (1000, 1000) == (sum(found.times.local.counts), sum(found.times.utc.counts))
    assert 41 <= found.times.utc.counts[9] <= 42
    assert found.times.utc.counts[9] == found.times.local.counts[2 * 23 + 1]


def test_a_day_until_noon_covers_the_morning() -> None:
    """By each clock its own half-hours; a month covers all of them alike."""
    found = statistics(SALES, "America/New_York", sales(6)).times
    assert found is not None
    assert [9, 10, 11, 19] == [*np.flatnonzero(found.utc.covered)[[0, 1, 2, -1]]]
    assert [0, 1, 47] == [*np.flatnonzero(found.local.covered)[[0, 1, -1]]]
    month_ = statistics(SALES, "UTC", sales(1000)).times
    assert month_ is not None
    assert {40, 41, 42} >= {*month_.utc.covered}


def test_a_day_has_its_local_weekday_and_a_month_none() -> None:
    """Most rows decide."""
    assert 0 == statistics(SALES, "UTC", sales(16)).weekday
    assert 6 == statistics(SALES, "America/New_York", sales(2, at=[MONDAY, MONDAY])).weekday
    assert statistics(SALES, "UTC", sales(1000)).weekday is None


def test_of_no_rows_and_of_no_values() -> None:
    """Nothing is known, which is no error."""
    assert Statistics(rows=0) == statistics(SALES, "UTC", sales(0))
    empty = {name: pa.nulls(4, SCHEMA.field(name).type) for name in SCHEMA.names}
    found = statistics(SALES, "UTC", pa.table(empty, schema=SCHEMA))
    assert (None, {}, {}) == (found.times, found.ranges, found.values)


def test_outcomes_that_are_not_known_yet_are_not_missing() -> None:
    """While some rows wait for theirs, only what was known from the start counts."""
    waiting = sales(4, paid_at=[MONDAY, None, MONDAY, None], tip=[1, None, 2, None])
    assert {"shop", "at", "amount"} == set(statistics(SALES, "UTC", waiting).nulls)
    assert set(SCHEMA.names) == set(statistics(SALES, "UTC", sales(4)).nulls)


def test_outside_is_the_share_beyond_what_was_usual() -> None:
    """Of numbers beyond the range, and of texts that are new; values that are missing do not count."""
    usual = [statistics(SALES, "UTC", sales(100))]
    found = statistics(SALES, "UTC", sales(4, amount=[50.0, 500.0, None, -1.0], shop=["a", "c", "c", None]), usual)
    assert {"amount": pytest.approx(2 / 3), "shop": pytest.approx(2 / 3), "tip": 0.0} == found.outside


def test_one_odd_batch_decides_nothing() -> None:
    """What is usual is a median, and of texts what at least half of the batches have."""
    odd = Statistics(rows=9, ranges={"n": (0, 1e9)}, values={"s": ("a", "z")})
    good = [Statistics(rows=9, ranges={"n": (1, high)}, values={"s": ("a", "b")}) for high in (8, 9)]
    assert {"n": (1, 9)} == usual_ranges([odd, *good])
    assert {"s": ["a", "b"]} == usual_values([odd, *good])


def test_a_column_of_many_texts_has_no_usual_values() -> None:
    """If it has too many in one of the batches, or none at all."""
    many = statistics(SALES, "UTC", sales(60, shop=[f"shop {row}" for row in range(60)]))
    assert {} == usual_values([many, statistics(SALES, "UTC", sales(60))])
