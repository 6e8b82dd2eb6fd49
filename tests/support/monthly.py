"""Months of payments that are alike, on which batch checks find nothing, and ways to spoil one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from ratchet.project.run import Run
from tests.support.feed import deliver, deliver_shops, feed_project
from tests.support.windows import with_days

Rows = list[dict[str, Any]]
Spoil = Callable[[Rows], Rows]
ZONE = "America/New_York"
GOOD = [1, 2, 3, 4]
ROWS = 800


def monthly_project(root: Path) -> Run:
    """A project of payments in New York, in which nothing is delivered yet."""
    run = feed_project(root)
    assert run.use_case is not None
    days = (date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1), date(2024, 7, 1))
    return with_days(replace(run, given=replace(run.use_case, timezone=ZONE)), days)


def deliver_good(run: Run) -> None:
    """Four good months, across the change of the clocks in March, and the shops."""
    deliver_shops(run)
    for month in GOOD:
        deliver(run, name(month), payments(month))


def name(month: int) -> str:
    return f"2024-{month:02}"


def payments(month: int, rows: int = ROWS) -> Rows:
    """A month of payments between 8 and 20 o'clock, most of them in the evening, with running numbers."""
    rng, zone = np.random.default_rng(month), ZoneInfo(ZONE)
    first, following = date(2024, month, 1), date(2024, month + 1, 1)
    days = np.sort(rng.integers(0, (following - first).days, rows))
    minutes = (20 - 12 * rng.beta(1, 3, rows)) * 60
    midnight = [datetime.combine(first + timedelta(days=int(day)), datetime.min.time(), zone) for day in days]
    return [
        {
            "id": month * 100_000 + row,
            "shop": ["a", "b"][int(rng.integers(2))],
            "at": (midnight[row].replace(hour=int(minutes[row]) // 60, minute=int(minutes[row]) % 60)).astimezone(UTC),
            "amount": float(rng.integers(100, 5000)) / 100,
        }
        for row in range(rows)
    ]


def changed(share: float, **values: Any) -> Spoil:
    """Other values in every so many rows."""
    every = round(1 / share)
    return lambda rows: [{**row, **values} if place % every == 0 else row for place, row in enumerate(rows)]


def later(hours: float) -> Spoil:
    """All times later."""
    return lambda rows: [{**row, "at": row["at"] + timedelta(hours=hours)} for row in rows]


def utc_for_local(rows: Rows) -> Rows:
    """The times as if what was UTC had been read as local time."""
    zone = ZoneInfo(ZONE)
    return [{**row, "at": row["at"].replace(tzinfo=zone).astimezone(UTC)} for row in rows]
