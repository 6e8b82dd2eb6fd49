"""Schedules as cron expressions in UTC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import numpy as np
from cronsim import CronSim, CronSimError

from ratchet.core.clock import TICK, Instants

_MINUTE = timedelta(minutes=1)
_SPAN, _FEWEST_RUNS = timedelta(weeks=5), 200
"""The runs of so long a time, and at least so many, show how long a schedule waits: also over a weekend, or for a month."""


def problem_of(cron: str) -> str | None:
    """Why a text is no cron expression; None if it is one."""
    try:
        CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return str(error)
    return None


def latest_tick(cron: str, at: datetime) -> datetime:
    """The last instant of a schedule that is not after `at`."""
    return next(CronSim(cron, at.astimezone(UTC) + TICK, reverse=True))


def first_ticks(cron: str, instants: Instants) -> Instants:
    """For each instant, as datetime64[us], the first one of a schedule that is not before it. NaT stays NaT."""
    minutes = np.array(-((-instants.astype("datetime64[us]").astype(np.int64)) // 60_000_000), "datetime64[m]")
    minutes[np.isnat(instants)] = np.datetime64("NaT")
    distinct, places = np.unique(minutes, return_inverse=True)
    return np.array(list(_ticks(cron, distinct.tolist())), "datetime64[us]")[places]


def _ticks(cron: str, minutes: Sequence[datetime | None]) -> Iterator[datetime | None]:
    """The tick of each minute; the minutes are in order, those without a time last."""
    tick = None
    for minute in minutes:
        if minute and (tick is None or minute > tick):
            tick = next(CronSim(cron, minute - _MINUTE))
        yield tick if minute else None


@lru_cache(maxsize=64)
def longest_wait(cron: str, at: datetime) -> timedelta:
    """The longest time between two runs of a schedule, among the next ones after `at`."""
    return max(later - earlier for earlier, later in pairwise(_next_runs(cron, at.astimezone(UTC))))


def _next_runs(cron: str, at: datetime) -> Iterator[datetime]:
    for number, run in enumerate(CronSim(cron, at)):
        yield run
        if number >= _FEWEST_RUNS and run > at + _SPAN:
            return
