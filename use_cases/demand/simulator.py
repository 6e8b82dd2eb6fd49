"""A made-up city with bicycle stations: rides, the hours whose rides have all been delivered, and a calendar.

Each week has random generators of its own. What changes slowly (how busy the city is) is a sum of waves over absolute time. So
a week can be computed without the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from ratchet.core.clock import Instants, Period, local_time, midnight, utc_time
from ratchet.core.frozen import Frozen
from ratchet.core.settings import PARAMS_FILE, parse
from ratchet.storage.digests import digest
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import INSTANT, Array
from use_cases.demand.timezone import TIMEZONE

FIRST = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
WEEK, HOUR = timedelta(weeks=1), np.timedelta64(1, "h")
DISTRICTS = np.array(["centre", "harbour", "north"])
WORKDAY = np.array([1, 0, 0, 0, 1, 3, 8, 22, 26, 14, 8, 8, 10, 9, 9, 12, 20, 26, 20, 12, 8, 6, 4, 2]) / 10
DAY_OFF = np.array([4, 3, 2, 1, 0, 0, 1, 2, 5, 9, 13, 15, 16, 16, 16, 15, 13, 11, 9, 7, 6, 5, 4, 4]) / 10
BATHING = np.array([0.8, 1.8, 1.0])  # factor of a day off for each district
_RIDES, _HOURS, _LOST, _CALENDAR, _STATIONS, _WAVES = range(6)  # independent streams of random numbers


class SimulatorOptions(Frozen):
    """`until`: the UTC date before which its history ends."""

    until: date = date(2024, 12, 2)
    seed: int = Field(7, ge=0)
    stations: int = Field(12, ge=1)


def simulator(_path: str, options: Mapping[str, Any], period: Period) -> list[Batch]:
    """A batch of stations, and batches of each other table by week, from two weeks before the period on."""
    chosen = parse(SimulatorOptions, options, f"{PARAMS_FILE}, source.options")
    end = min(period.end, midnight(chosen.until))
    first, last = max((period.start - FIRST) // WEEK - 2, 0), (end - FIRST) // WEEK
    weekly = {"rides": _rides, "hours": _hours, "calendar": _calendar}
    return [
        _batch("stations", "stations", chosen, None, partial(_stations, chosen)),
        *(
            _batch(name, f"week-{week:03d}", chosen, FIRST + (week + 1) * WEEK, partial(rows, chosen, week))
            for name, rows in weekly.items()
            for week in range(first, last + 1)
        ),
    ]


def _batch(
    table: str, batch: str, options: SimulatorOptions, end: datetime | None, rows: Callable[[], dict[str, Any]]
) -> Batch:
    content, until = digest(options.model_dump(exclude={"until"})), end and min(end, midnight(options.until))
    return Batch(table, batch, content, lambda: (pa.table(rows()), []), files=(), complete_until=until)


def _stations(options: SimulatorOptions) -> dict[str, Any]:
    return {"station": _names(np.arange(options.stations)), "district": DISTRICTS[_districts(options)]}


def _hours(options: SimulatorOptions, week: int) -> dict[str, Any]:
    """The timestamps when all rides of each hour were delivered. For a few hours, some never are."""
    hours, rng = _hours_of(week), _rng(options, _HOURS, week)
    complete = hours + 3 * HOUR + rng.integers(5, 20, len(hours)).astype("timedelta64[m]")
    known = np.where(_lost(options, week), np.datetime64("NaT", "us"), complete)
    return {"hour_start": _instants(hours), "complete_at": _instants(known)}


def _calendar(options: SimulatorOptions, week: int) -> dict[str, Any]:
    days = _hours_of(week)[::24].astype("datetime64[D]")
    starts, noons = (utc_time(days + hours * HOUR, TIMEZONE) for hours in (0, -12))
    return {
        "day_start": _instants(starts),
        "is_holiday": pa.array(_is_holiday(options, days)),
        "published_at": _instants(noons),
    }


def _rides(options: SimulatorOptions, week: int) -> dict[str, Any]:
    """Rides in no order; some are delivered twice, some without their station, and some bicycles are found much later."""
    rng, hours = _rng(options, _RIDES, week), _hours_of(week)
    counts = rng.poisson(_rates(options, hours))
    counts = np.where(_lost(options, week)[:, None], counts // 2, counts)
    hour, station = (np.repeat(place.ravel(), counts.ravel()) for place in np.indices(counts.shape))
    rows = len(hour)
    started = hours[hour] + rng.integers(0, 3600, rows).astype("timedelta64[s]")
    seconds = np.clip(rng.lognormal(6.5, 0.6, rows).round(), 60, 7200).astype(np.int64)
    draw, sent = rng.random(rows), rng.permutation(np.append(np.arange(rows), rng.integers(0, rows, rows // 300)))
    seconds = np.where(draw < 0.004, seconds + 7200, seconds)
    columns = {
        "ride": pa.array(np.char.add(f"{week}-", np.arange(rows).astype(str))),
        "station": pa.array(_names(station), mask=draw > 0.996),
        "started_at": _instants(started),
        "seconds": pa.array(seconds),
        "ended_at": _instants(started + seconds.astype("timedelta64[s]")),
    }
    return {name: values.take(pa.array(sent)) for name, values in columns.items()}


def _rates(options: SimulatorOptions, hours: Instants) -> Array:
    """Expected rides, hours × stations."""
    rng, district = _rng(options, _STATIONS, 0), _districts(options)
    size = rng.lognormal(1.0, 0.6, options.stations)
    local = local_time(hours, TIMEZONE).astype("datetime64[h]")
    days, hour = local.astype("datetime64[D]"), local.astype(np.int64) % 24
    is_off = ((days.astype(np.int64) + 3) % 7 >= 5) | _is_holiday(options, days)
    profile = np.where(is_off, DAY_OFF[hour], WORKDAY[hour])[:, None] * np.where(is_off[:, None], BATHING[district], 1)
    return profile * size * np.exp(_waves(options, hours)[:, district])


def _waves(options: SimulatorOptions, hours: Instants) -> Array:
    """How busy each district is, hours × districts, around 0. It changes within one day or a few days."""
    rng, shape = _rng(options, _WAVES, 0), (len(DISTRICTS), 6)
    periods, phases = rng.uniform(15, 90, shape), rng.uniform(0, 2 * np.pi, shape)
    angle = 2 * np.pi * hours.astype("datetime64[h]").astype(np.int64)[:, None, None] / periods + phases
    return np.asarray(0.25 * np.sin(angle).sum(axis=2))


def _lost(options: SimulatorOptions, week: int) -> Array:
    """Hours of a week of which only half of the rides were delivered."""
    return _rng(options, _LOST, week).random(7 * 24) < 0.03


def _is_holiday(options: SimulatorOptions, days: Instants) -> Array:
    draws = [_rng(options, _CALENDAR, int(day)).random() for day in np.unique(days.astype(np.int64))]
    return np.array(draws)[np.unique(days, return_inverse=True)[1]] < 0.08


def _districts(options: SimulatorOptions) -> Array:
    return np.arange(options.stations) % len(DISTRICTS)


def _names(stations: Array) -> Array:
    return np.char.add("S", np.char.zfill(stations.astype(str), 2))


def _hours_of(week: int) -> Instants:
    return np.datetime64(FIRST.replace(tzinfo=None), "us") + (week * 7 * 24 + np.arange(7 * 24)) * HOUR


def _instants(times: Instants) -> pa.Array:
    return pa.array(times.astype("datetime64[us]")).cast(INSTANT)


def _rng(options: SimulatorOptions, stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng([options.seed, stream, number])
