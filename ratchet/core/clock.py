"""Instants, periods and local time.

Every stored instant is UTC with microseconds. Local time exists in two places: at ingest, where naive local
columns become UTC, and in calendar features, where UTC becomes local again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Instants = npt.NDArray[Any]
"""An array of datetime64[us], or of timedelta64[us] for offsets."""
TICK = timedelta(microseconds=1)
"""The smallest difference between two stored instants."""
FIRST, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Every row's times lie strictly between these: online stores keep none before, and no zone's offsets are known after."""
_MICROSECONDS = np.dtype("datetime64[us]")
_THURSDAY = 3  # the weekday of 1970-01-01


def midnight(day: date) -> datetime:
    """The instant at which a UTC date begins."""
    return datetime.combine(day, time(), UTC)


def local_midnight(day: date, timezone: str) -> datetime:
    """The instant at which a local day begins."""
    return datetime.combine(day, time(), ZoneInfo(timezone)).astimezone(UTC)


def later(instant: datetime, length: timedelta, timezone: str) -> datetime:
    """The instant after a length of time. Whole days are local days, which have 23 or 25 hours when clocks change."""
    zone = ZoneInfo(timezone)
    if length % timedelta(days=1):
        return instant + length
    return (instant.astimezone(zone) + length).astimezone(UTC)


class Clock(Protocol):
    """The current time, as a step sees it; tests set it."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class FixedClock:
    """A clock that always shows the same instant."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Period:
    """The half-open interval [start, end) between two UTC instants."""

    start: datetime
    end: datetime

    @classmethod
    def between(cls, first: date, end: date, timezone: str) -> Period:
        """The period of the local days from `first` up to, not including, `end`."""
        return cls(local_midnight(first, timezone), local_midnight(end, timezone))

    def dates(self) -> Iterator[date]:
        """Every UTC date that the period touches, in order."""
        day = self.start.astimezone(UTC).date()
        while midnight(day) < self.end:
            yield day
            day += timedelta(days=1)

    def __str__(self) -> str:
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"


@lru_cache(maxsize=16)
def _transitions(timezone: str) -> tuple[Instants, Instants]:
    """The UTC instants at which `timezone` changes its offset, and the offset from each on."""
    zone = ZoneInfo(timezone)

    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(zone).utcoffset() or timedelta()

    day = FIRST
    instants, offsets = [day], [offset(day)]
    while day < END:
        following = day + timedelta(days=1)
        if offset(following) != offsets[-1]:
            before, after = day, following
            while after - before > timedelta(seconds=1):
                middle = before + (after - before) // 2
                before, after = (middle, after) if offset(middle) == offsets[-1] else (before, middle)
            instants.append(after.replace(microsecond=0))
            offsets.append(offset(following))
        day = following
    naive = [instant.replace(tzinfo=None) for instant in instants]
    return np.array(naive, "datetime64[us]"), np.array(offsets, "timedelta64[us]")


def local_time(instants: Instants, timezone: str) -> Instants:
    """Wall-clock time in `timezone` of UTC `instants` (datetime64, any shape); NaT stays NaT."""
    starts, offsets = _transitions(timezone)
    utc = instants.astype(_MICROSECONDS, copy=False)
    index = np.maximum(starts.searchsorted(utc, side="right") - 1, 0)
    return utc + offsets[index]


def calendar(instants: Instants, timezone: str) -> dict[str, npt.NDArray[np.float64]]:
    """The local `hour`, 0 to 23, and `weekday`, 0 for Monday, of UTC instants; NaN for NaT."""
    local = local_time(instants, timezone)
    day = local.astype("datetime64[D]")
    numbers = {"hour": (local - day).astype("timedelta64[h]"), "weekday": (day.astype(np.int64) + _THURSDAY) % 7}
    return {name: np.where(np.isnat(local), np.nan, values.astype(np.float64)) for name, values in numbers.items()}


def utc_time(wall_clock: Instants, timezone: str) -> Instants:
    """UTC instants of naive local times. An ambiguous time becomes its first occurrence, a nonexistent one NaT."""
    starts, offsets = _transitions(timezone)
    local = wall_clock.astype("datetime64[us]")
    after = np.clip(np.searchsorted(starts + offsets, local, side="right") - 1, 0, None)
    before = np.clip(after - 1, 0, None)
    first = local - offsets[before]
    second = local - offsets[after]
    result = np.where(first < starts[after], first, second)
    return np.where(local_time(result, timezone) == local, result, np.datetime64("NaT", "us"))
