"""A synthetic city that delivers trip records as TLC does, in the same columns and with the same kinds of errors.

Every local day has a random generator of its own. What changes slowly (weather, congestion) is a sum of waves over absolute
time. So a month can be computed without the others, and a drift does not change the days before it.

`use_cases.nyc_taxi.switches` lists what can be switched on: late trips, corrections, duplicates, an outage, and other changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from ratchet.core.clock import Instants, Period, local_midnight, local_time, utc_time
from ratchet.core.settings import PARAMS_FILE, parse
from ratchet.storage.digests import digest
from ratchet.use_case.batch import Batch, Gap
from ratchet.use_case.contract import Array
from use_cases.nyc_taxi import sources, tables
from use_cases.nyc_taxi.sources import Read
from use_cases.nyc_taxi.switches import DELIVERED_AT, Switches
from use_cases.nyc_taxi.tables import DROPOFF, PICKUP, ZONES, Month, months
from use_cases.nyc_taxi.timezone import TIMEZONE

CENTRES = {"Centre": (0.0, 0.0), "North": (1.0, 6.0), "East": (6.0, 1.0), "West": (-5.0, 3.0)}  # miles
ZONE_IDS = np.arange(1, 61)
UNKNOWN_IDS = np.array([264, 265])
WEEKDAY = np.array([5, 3, 2, 1, 2, 4, 10, 22, 30, 26, 20, 20, 22, 22, 24, 28, 32, 36, 36, 30, 24, 20, 15, 9])
WEEKEND = np.array([16, 14, 11, 7, 5, 3, 4, 6, 10, 14, 18, 22, 24, 26, 26, 26, 26, 26, 26, 25, 24, 23, 21, 19])
RUSH = np.array([0, 0, 0, 0, 0, 0, 1, 3, 5, 4, 3, 3, 3, 3, 4, 5, 6, 6, 5, 3, 2, 1, 1, 0]) / 6
COMMUTES = np.array([0.0, 1.5, -1.5])  # pull towards the centre: at other times, in the morning, in the evening
COMMUTE_OF_HOUR = np.array([0] * 6 + [1] * 4 + [0] * 6 + [2] * 4 + [0] * 4)
_CITY, _DAY, _WEATHER, _CONGESTION = range(4)  # independent streams of random numbers


class SimulatorOptions(Switches):
    """`drift_from`: the first local day on which traffic is slower and demand is at other places. `until`: the local day before
    which its history ends. The others are switches."""

    seed: int = Field(7, ge=0)
    trips_per_day: int = Field(2000, ge=1)
    drift_from: date | None = None
    until: date = date(2024, 1, 1)

    def before(self, end: date) -> SimulatorOptions:
        """The options that affect the days before `end`."""
        drifts = self.drift_from is not None and self.drift_from < end
        return self if drifts else self.model_copy(update={"drift_from": None})


@dataclass(frozen=True)
class City:
    """The properties of the city that do not change.

    For each zone: borough, `x` and `y` (miles), centrality (0 to 1). For each pair: street miles, and `detour`, the factor by
    which a trip takes longer than its length implies. `demand[drifted, commute]`: cumulative shares of all pairs in trips.
    """

    borough: Array
    x: Array
    y: Array
    centrality: Array
    miles: Array
    detour: Array
    demand: Array


def simulator(_path: str, options: Mapping[str, Any], period: Period) -> list[Batch | Gap]:
    """The same batches as those of the TLC loader, for the city that `options` describe."""
    chosen = parse(SimulatorOptions, options, f"{PARAMS_FILE}, source.options")
    ended = Period(period.start, min(period.end, local_midnight(chosen.until, TIMEZONE)))
    with_eve = Period(period.start - timedelta(days=1), ended.end)
    return [
        *(_trips_of(chosen, month, period.end) for month in months(ended) if _has_trips(chosen, month, period.end)),
        *chosen.gaps(period),
        Batch("zones", "zones", _digest(chosen.before(date.min)), partial(_zones, chosen.seed), files=()),
        *(_weather_of(chosen, month) for month in months(with_eve)),
    ]


def _trips_of(options: SimulatorOptions, month: Month, end: datetime) -> Batch:
    seen = options.before(month.following.first)
    content = digest(_digest(seen), options.of_month(month, end), options.until if options.are_gradual else None)
    ends = min(month.end, local_midnight(options.until, TIMEZONE))
    complete = min(ends, options.complete_until(end)) if options.are_gradual else ends
    read = partial(_trips, seen, month, end)
    return Batch("trips", str(month), content, read, files=(), complete_until=complete, period=month.period)


def _has_trips(options: SimulatorOptions, month: Month, end: datetime) -> bool:
    """Whether a trip of the month was delivered by `end`. The first day mostly has one."""
    return not options.are_gradual or any(len(day[PICKUP]) for day in _delivered(options, month, end))


def _weather_of(options: SimulatorOptions, month: Month) -> Batch:
    seen = options.before(month.following.first)
    end = min(month.end, local_midnight(options.until, TIMEZONE))
    read = partial(_weather, seen, month)
    return Batch("weather", str(month), _digest(seen), read, files=(), complete_until=end)


def _digest(options: SimulatorOptions) -> str:
    return digest(options.model_dump(mode="json", exclude={"until", *Switches.model_fields}))


def _trips(options: SimulatorOptions, month: Month, end: datetime) -> Read:
    days = [*_delivered(options, month, end)]
    columns = {name: np.concatenate([day[name] for day in days]) for name in days[0] if name != DELIVERED_AT}
    delivered = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    return tables.trips(options.columns(delivered, month), month, f"simulated {month}")


def _delivered(options: SimulatorOptions, month: Month, end: datetime) -> Iterator[dict[str, Array]]:
    """For each local day of the month that can have any, the trips picked up on it that were delivered by `end`."""
    for day in month.days():
        if not options.are_gradual or (day < options.until and local_midnight(day, TIMEZONE) < end):
            yield options.delivered(_day(options, day), day, options.seed, end)


def _zones(seed: int) -> Read:
    city, unknown = _city(seed), np.full(len(UNKNOWN_IDS), np.nan)
    ids = np.append(ZONE_IDS, UNKNOWN_IDS)
    columns = {
        "zone": ids,
        "borough": np.append(city.borough, ["Unknown"] * len(unknown)),
        "name": np.char.add("Zone ", ids.astype(str)),
        "x_miles": pa.array(np.append(city.x, unknown), from_pandas=True),
        "y_miles": pa.array(np.append(city.y, unknown), from_pandas=True),
    }
    return pa.table(columns).cast(ZONES), [f"position of {UNKNOWN_IDS.tolist()}: unknown"]


def _weather(options: SimulatorOptions, month: Month) -> Read:
    days = np.array(month.days(), "datetime64[D]")
    rain, wind, warmth = _fronts(options.seed, days)
    season = -np.cos(2 * np.pi * (days.astype(int) % 365.25) / 365.25)
    high = np.round(60 + 25 * season + 6 * warmth)
    snow = np.where(high < 36, 8 * rain, 0.0)
    readings = {
        "wind_mph": np.round(7 + 2 * wind, 2),
        "precipitation_inches": np.round(rain, 2),
        "snow_inches": np.round(snow, 1),
        "snow_depth_inches": np.round(snow / 2),
        "high_fahrenheit": high,
        "low_fahrenheit": high - 12,
    }
    return sources.weather(month.days(), readings), []


@lru_cache(maxsize=4)
def _city(seed: int) -> City:
    rng = np.random.default_rng([seed, _CITY])
    count = len(ZONE_IDS)
    borough = np.resize(list(CENTRES), count)
    x, y = (np.array([CENTRES[name] for name in borough]) + rng.normal(0, 1.7, (count, 2))).T
    blocks = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    centrality = np.exp(-np.hypot(x, y) / 4)
    popularity = np.sort(rng.lognormal(0, 1.1, count))
    demand = [
        [_demand(people, blocks, centrality, pull) for pull in COMMUTES] for people in (popularity, popularity[::-1])
    ]
    miles = 0.5 + 1.1 * blocks
    return City(borough, x, y, centrality, miles, rng.lognormal(0, 0.25, (count, count)), np.array(demand))


def _demand(popularity: Array, blocks: Array, centrality: Array, pull: float) -> Array:
    """Cumulative shares (zones × zones) of the pairs: popular places, near each other, with or against the commute."""
    weight = np.outer(popularity, popularity) * np.exp(-blocks / 4 + pull * (centrality - centrality[:, None]))
    return np.asarray(np.cumsum(weight) / weight.sum())


def _waves(seed: int, stream: int, groups: int, hours: Array, periods: tuple[float, float]) -> Array:
    """Values (groups, hours) around 0 with variance 1, which change within `periods` hours. An hour's values never change."""
    rng = np.random.default_rng([seed, stream])
    period, phase = rng.uniform(*periods, (groups, 6, 1)), rng.uniform(0, 2 * np.pi, (groups, 6, 1))
    return np.asarray(np.sin(2 * np.pi * hours / period + phase).sum(axis=1) / np.sqrt(3))


def _fronts(seed: int, days: Array) -> tuple[Array, Array, Array]:
    """Rain (inches), wind and warmth (around 0) of each day. Weather lasts, so that yesterday's weather predicts today's."""
    rain, wind, warmth = _waves(seed, _WEATHER, 3, days.astype(int) * 24.0, (96, 240))
    return np.clip(rain - 0.4, 0, None), wind, warmth


def _day(options: SimulatorOptions, day: date) -> dict[str, Array]:
    """The trips picked up on a local day, in TLC's columns and DELIVERED_AT; NaN means null."""
    city, drifted = _city(options.seed), options.drift_from is not None and day >= options.drift_from
    rng = np.random.default_rng([options.seed, _DAY, day.toordinal()])
    wall_clock = _pickup_times(rng, day, options.trips_per_day, night_life=drifted)
    pickup_at = utc_time(wall_clock, TIMEZONE)
    hour = wall_clock.astype("datetime64[h]").astype(int) % 24
    pickup, dropoff = _routes(rng, city.demand[int(drifted)], COMMUTE_OF_HOUR[hour])
    miles = city.miles[pickup, dropoff] * rng.lognormal(0, 0.05, len(pickup))
    speed = _speed(options.seed, city, pickup, dropoff, wall_clock) * (0.55 if drifted else 1.0)
    minutes = (1.5 + 60 * miles / speed * city.detour[pickup, dropoff]) * rng.lognormal(0, 0.18, len(pickup))
    seconds = _with_outliers(rng, minutes * 60)
    known = np.where(rng.random(len(pickup)) < 0.07, np.nan, 1.0)
    columns = {
        "VendorID": rng.choice([1, 2], len(pickup), p=[0.15, 0.85]),
        PICKUP: wall_clock,
        DROPOFF: local_time(pickup_at + seconds, TIMEZONE),
        "PULocationID": _sometimes_unknown(rng, ZONE_IDS[pickup], 0.003),
        "DOLocationID": _sometimes_unknown(rng, ZONE_IDS[dropoff], 0.01),
        "passenger_count": known * rng.choice([0, 1, 2, 3, 5], len(pickup), p=[0.01, 0.85, 0.09, 0.02, 0.03]),
        "trip_type": known * rng.choice([1, 2], len(pickup), p=[0.97, 0.03]),
        "trip_distance": _metered(rng, miles),
        "total_amount": np.round(4 + 2.5 * miles + 0.5 * minutes, 2),
        DELIVERED_AT: np.where(np.isnat(pickup_at), wall_clock + np.timedelta64(1, "D"), pickup_at + seconds),
    }
    return _with_voids(rng, _with_strays(rng, columns, day))


def _pickup_times(rng: np.random.Generator, day: date, expected: int, *, night_life: bool) -> Instants:
    """Naive local times in order. At weekends, and on every day with `night_life`, more trips begin at night."""
    is_weekend = day.weekday() >= 5
    profile = WEEKEND if is_weekend or night_life else WEEKDAY
    count = rng.poisson(expected * (0.9 if is_weekend else 1.04))
    hours = rng.choice(24, count, p=profile / profile.sum())
    seconds = np.sort(hours * 3600 + rng.integers(0, 3600, count))
    return np.datetime64(day, "us") + seconds.astype("timedelta64[s]")


def _routes(rng: np.random.Generator, demand: Array, commute: Array) -> tuple[Array, Array]:
    """Indices of the zones of pickup and dropoff of each trip."""
    draw = rng.random(len(commute))
    pair = np.empty(len(commute), dtype=np.int64)
    for kind, cumulative in enumerate(demand):
        pair[commute == kind] = np.searchsorted(cumulative, draw[commute == kind])
    return np.divmod(np.minimum(pair, len(demand[0]) - 1), len(ZONE_IDS))


def _speed(seed: int, city: City, pickup: Array, dropoff: Array, wall_clock: Instants) -> Array:
    """Miles per hour: less in the centre, in rush hours on working days, in jams that come and go, and in the rain."""
    hours = wall_clock.astype("datetime64[h]").astype(int)
    days = wall_clock.astype("datetime64[D]")
    busy = RUSH[hours % 24] * np.where((days.astype(int) + 3) % 7 < 5, 1.0, 0.6)
    jams = _waves(seed, _CONGESTION, len(CENTRES), hours.astype(float), (20, 90))[
        pickup % len(CENTRES), np.arange(len(pickup))
    ]
    rain = _fronts(seed, days)[0]
    centre = (city.centrality[pickup] + city.centrality[dropoff]) / 2
    return np.asarray(30 * (1 - 0.4 * centre) * (1 - 0.35 * busy) * np.exp(-0.15 * jams) / (1 + 0.15 * rain))


def _with_outliers(rng: np.random.Generator, seconds: Array) -> Array:
    """Trips cancelled at once, and meters left running for hours."""
    draw, short, long = (
        rng.random(len(seconds)),
        rng.integers(0, 60, len(seconds)),
        rng.integers(3601, 86400, len(seconds)),
    )
    return np.select([draw < 0.02, draw < 0.03], [short, long], seconds.round()).astype("timedelta64[s]")


def _sometimes_unknown(rng: np.random.Generator, zones: Array, share: float) -> Array:
    return np.where(rng.random(len(zones)) < share, rng.choice(UNKNOWN_IDS, len(zones)), zones)


def _metered(rng: np.random.Generator, miles: Array) -> Array:
    """Distances as recorded: one in twenty is zero, and one in some thousands is absurd."""
    draw = rng.random(len(miles))
    return np.round(np.select([draw < 0.05, draw < 0.0503], [0.0, miles * 10_000], miles), 2)


def _with_strays(rng: np.random.Generator, columns: dict[str, Array], day: date) -> dict[str, Array]:
    """Add strays: a few trips of the month before, delivered late, and a few whose meter's clock shows the end of 2008."""
    draw = rng.random(len(columns[PICKUP]))
    last_month = np.timedelta64(day.day + 2, "D")
    lost_clock = columns[PICKUP].astype("datetime64[D]") - np.datetime64("2008-12-31")
    back = np.select([draw < 0.00003, draw < 0.0002], [lost_clock, last_month], np.timedelta64(0, "D"))
    return {**columns, PICKUP: columns[PICKUP] - back, DROPOFF: columns[DROPOFF] - back}


def _with_voids(rng: np.random.Generator, columns: dict[str, Array]) -> dict[str, Array]:
    """Deliver some trips again under the same key, half of them with a negative amount."""
    again = np.flatnonzero(rng.random(len(columns[PICKUP])) < 0.0027)
    sign = np.where(rng.random(len(again)) < 0.5, -1.0, 1.0)
    repeated = {name: values[again] for name, values in columns.items()}
    repeated["total_amount"] = repeated["total_amount"] * sign
    return {name: np.concatenate([values, repeated[name]]) for name, values in columns.items()}
