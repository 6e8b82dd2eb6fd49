"""In which files accepted rows lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from feature_pipeline.accepted_files import accepted_files
from ratchet.use_case.arrival import Delivery
from ratchet.use_case.contract import INSTANT, SourceTable
from tests.support.arrived import AT_ONCE, HOURLY

SCHEMA = pa.schema({"id": pa.int64(), "at": INSTANT, "known_at": INSTANT})
TABLE = SourceTable("bills", SCHEMA, key=("id",), event_time="at", known_at="known_at")


def day(number: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2024, 1, number, hour, minute, tzinfo=UTC)


def found(table: SourceTable, rows: list[dict[str, Any]], delivery: Delivery = AT_ONCE) -> dict[str, list[int]]:
    """File → the ids of its rows."""
    given = pa.Table.from_pylist(rows, table.delivered_schema)
    files = accepted_files(table, "one", given, delivery)
    assert all(rows.schema == table.accepted_schema for rows in files.values())
    return {name: rows["id"].to_pylist() for name, rows in files.items()}


def test_a_late_row_lies_also_by_the_date_from_which_it_counts() -> None:
    """That is the first run of the feature pipeline after it came. A row in time is of its event's date alone."""
    rows = [
        {"id": 1, "at": day(1), "known_at": day(1, 1)},
        {"id": 2, "at": day(1), "known_at": day(4)},
        {"id": 3, "at": day(1, 2), "known_at": day(1, 3), "row_late_at": day(1, 9)},
        {"id": 4, "at": day(1, 3), "known_at": day(1, 4), "row_late_at": day(5, 23, 30)},
        {"id": 5, "at": day(2, 3), "known_at": day(3), "row_late_at": day(5, 12)},
    ]
    assert {
        "bills/date=2024-01-01/one": [1, 2, 3],
        "bills/date=2024-01-01,2024-01-06/one": [4],
        "bills/date=2024-01-02,2024-01-05/one": [5],
    } == found(TABLE, rows, Delivery(timedelta(0), HOURLY))


def test_early_columns_may_count_before_the_rest() -> None:
    """A row of which both came late, at two times, lies by three dates; where two are the same date, it is named once."""
    rows = [
        {"id": 1, "at": day(1), "known_at": None, "row_late_at": day(3, 1), "row_early_late_at": day(3, 1)},
        {"id": 2, "at": day(1), "known_at": day(2), "row_late_at": day(9), "row_early_late_at": day(3, 1)},
        {"id": 3, "at": day(1), "known_at": day(2), "row_late_at": day(3, 1)},
        {"id": 4, "at": day(1), "known_at": day(2)},
    ]
    assert {
        "bills/date=2024-01-01,2024-01-03/one": [3, 1],
        "bills/date=2024-01-01,2024-01-03,2024-01-09/one": [2],
        "bills/date=2024-01-01/one": [4],
    } == found(replace(TABLE, early=("id",)), rows)


def test_a_pending_row_without_early_columns_does_not_count_yet() -> None:
    """It is of its event's date alone, and is not lost."""
    assert {"bills/date=2024-01-01/one": [1]} == found(TABLE, [{"id": 1, "at": day(1), "row_late_at": day(3)}])


def test_a_reference_table_has_no_dates() -> None:
    """All rows of a batch lie in one file."""
    table = SourceTable("shops", pa.schema({"id": pa.int64()}), key=("id",))
    assert {"shops/one": [1, 2]} == found(table, [{"id": 1}, {"id": 2}])
