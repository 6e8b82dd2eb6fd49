"""From when on an accepted row may be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from ratchet.core.errors import SettingsError
from ratchet.use_case.arrival import Delivery
from ratchet.use_case.contract import INSTANT, SourceTable
from tests.support.arrived import AT_ONCE, HOURLY, arrived

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
SCHEMA = pa.schema({"order": pa.int64(), "placed_at": INSTANT, "sent_at": INSTANT})
ORDERS = SourceTable("orders", SCHEMA, key=("order",), event_time="placed_at", known_at="sent_at", early=("order",))
SIX_HOURS_LATER = Delivery(timedelta(hours=6), HOURLY)


def clock(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return NOON.replace(hour=hour, minute=minute, second=second)


def instants(delivery: Delivery, table: SourceTable = ORDERS, **times: datetime | None) -> list[Any]:
    """The instants of an order placed at noon and sent at 12:30, if nothing else is given."""
    row = {"order": 1, "placed_at": NOON, "sent_at": clock(12, 30), **times}
    found = arrived(table, [row], delivery).to_pylist()[0]
    return [found.get(f"row_{name}") for name in ("arrived_at", "available_at", "early_available_at")]


def test_a_row_is_available_from_the_first_run_that_sees_it() -> None:
    """The run after it was known and delivered; its early columns from the run after its event."""
    assert [clock(12, 30), clock(13), clock(12, 0, 1)] == instants(Delivery(timedelta(0), HOURLY))
    assert [clock(18, 30), clock(19), clock(18)] == instants(SIX_HOURS_LATER)


def test_a_row_is_available_only_after_it_was_known() -> None:
    """A run at the very instant at which something happens has seen it, and it counts from the next second on."""
    assert [clock(12, 30), clock(12, 30, 1), clock(12, 0, 1)] == instants(AT_ONCE)


@pytest.mark.parametrize("second", [0, 1, 59])
def test_a_run_has_seen_what_counts_by_then(second: int) -> None:
    """At an instant of the schedule also what was known just then; other runs see nothing that counts only later."""
    at = clock(12, 0, second)
    known = [clock(11, 59, 59), clock(12), clock(12, 0, 1), clock(12, 1)]
    available = [instants(AT_ONCE, sent_at=instant)[1] for instant in known]
    seen = [instant for instant, when in zip(known, available, strict=True) if when <= AT_ONCE.seen_until(at)]
    assert [instant for instant in known if instant <= clock(12)] == seen


def test_a_row_that_comes_late_is_available_later() -> None:
    """Where it came later than the usual lag; else the lag counts. Its early columns may have been there in time."""
    late = {"row_late_at": clock(20, 5), "row_early_late_at": clock(20, 5)}
    assert [clock(20, 5), clock(21), clock(21)] == instants(SIX_HOURS_LATER, **late)
    assert [clock(20, 5), clock(21), clock(18)] == instants(SIX_HOURS_LATER, row_late_at=clock(20, 5))
    assert [clock(18, 30), clock(19), clock(18)] == instants(SIX_HOURS_LATER, **dict.fromkeys(late, clock(14)))


def test_how_long_a_row_may_take() -> None:
    """Its lag, and the longest time until the next run."""
    assert timedelta(hours=7) == SIX_HOURS_LATER.longest
    assert timedelta(days=7) == Delivery(timedelta(0), "0 0 * * 1").longest


def test_what_is_not_known_yet_is_not_available() -> None:
    """But its early columns are."""
    assert [None, None, clock(12, 0, 1)] == instants(AT_ONCE, sent_at=None)
    late = {"row_late_at": clock(15), "row_early_late_at": clock(15)}
    assert [None, None, clock(15)] == instants(Delivery(timedelta(0), HOURLY), sent_at=None, **late)


def test_a_table_says_only_what_it_can() -> None:
    """Without early columns there is no instant for them, and a reference table was always known."""
    events = SourceTable("orders", SCHEMA, key=("order",), event_time="placed_at")
    assert [NOON, clock(12, 0, 1), None] == instants(AT_ONCE, events)
    assert [None, None, None] == instants(AT_ONCE, SourceTable("orders", SCHEMA, key=("order",)))


@pytest.mark.parametrize("name", ["row_key", "row_available_at", "unreadable"])
def test_the_names_of_these_columns_are_taken(name: str) -> None:
    """A table cannot have a column of its own with such a name."""
    with pytest.raises(SettingsError, match=name):
        SourceTable("orders", pa.schema({"order": pa.int64(), name: INSTANT}), key=("order",))
