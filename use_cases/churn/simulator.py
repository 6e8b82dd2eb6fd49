"""A made-up telephone company: its bills, who cancels, and the scores that another system computes of its customers.

Every month has a random generator of its own, and builds on the months before it. A customer who cancels is replaced by a new
one, who was often referred by another customer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from pydantic import Field

from ratchet.core.clock import Instants, Period, local_midnight, local_time, utc_time
from ratchet.core.frozen import Frozen
from ratchet.core.settings import PARAMS_FILE, parse
from ratchet.storage.digests import digest
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import INSTANT, Array

TIMEZONE = "America/Toronto"
FIRST = np.datetime64("2023-01", "M")
EVE = 4  # months before the period, which windows look back on
PLANS, REGIONS = np.array(["basic", "family", "business"]), np.array(["east", "north", "west"])
PRICES = np.array([1500, 4500, 9000])
DAY = np.timedelta64(1, "D")
_MOVES, _BILLS, _SCORES = range(3)  # independent streams of random numbers


class SimulatorOptions(Frozen):
    """`until`: the local day before which its history ends."""

    until: date = date(2024, 12, 1)
    seed: int = Field(7, ge=0)
    customers: int = Field(1500, ge=10)


@dataclass(frozen=True)
class Customers:
    """Everybody who has a contract in a month, in columns.

    `habit` is how badly a customer pays and how easily they leave; it resembles the referrer's. `trouble` comes and goes.
    `leaves_after` is the time from the month's bill to the cancellation, NaT for those who stay.
    """

    ids: Array
    referrers: Array
    plan: Array
    region: Array
    tenure: Array
    billing_day: Array
    habit: Array
    trouble: Array
    leaves_after: Array


def simulator(_path: str, options: Mapping[str, Any], period: Period) -> list[Batch]:
    """Batches of each table by local month, from some months before the period on."""
    chosen = parse(SimulatorOptions, options, f"{PARAMS_FILE}, source.options")
    end = min(period.end, local_midnight(chosen.until, TIMEZONE))
    first, last = _number(period.start), _number(end - timedelta(microseconds=1))
    tables = {"bills": _bills, "health_scores": _scores, "cancellations": _cancellations}
    return [
        _batch(name, rows, chosen, month)
        for name, rows in tables.items()
        for month in range(max(first - EVE, 0), last + 1)
    ]


def _batch(
    table: str, rows: Callable[[SimulatorOptions, int], dict[str, Any]], options: SimulatorOptions, month: int
) -> Batch:
    content = digest(options.model_dump(exclude={"until"}), month)
    end = min(local_midnight(_month(month + 1).astype(date), TIMEZONE), local_midnight(options.until, TIMEZONE))

    def read() -> tuple[pa.Table, list[str]]:
        return pa.table(rows(options, month)), []

    return Batch(table, str(_month(month)), content, read, files=(), complete_until=end)


def _month(number: int) -> np.datetime64:
    return FIRST + np.timedelta64(number, "M")


def _number(instant: datetime) -> int:
    """The number of months from the first month to that of a timestamp."""
    local = instant.astimezone(ZoneInfo(TIMEZONE))
    return int((np.datetime64(f"{local:%Y-%m}", "M") - FIRST).astype(int))


def _bills(options: SimulatorOptions, month: int) -> dict[str, Any]:
    """Bills of a month. Some are delivered twice; some have an unknown plan, a negative amount or a late payment."""
    who, rng = _customers(options, month), _rng(options, _BILLS, month)
    rows = len(who.ids)
    billed = _billed_at(who, month)
    days = np.minimum(rng.poisson(np.exp(1.8 + 0.5 * who.habit)), 30)
    days = np.where(rng.random(rows) < 0.005, 45, days)
    paid = billed + days * DAY + rng.integers(1, 24, rows).astype("timedelta64[h]")
    draw, sent = rng.random(rows), np.append(np.arange(rows), rng.integers(0, rows, rows // 300))
    columns = {
        "customer": who.ids,
        "referrer": who.referrers,
        "plan": np.where(draw < 0.003, "trial", PLANS[who.plan]),
        "region": REGIONS[who.region],
        "tenure_months": who.tenure,
        "amount_cents": np.where(draw > 0.997, -1, 1) * (PRICES[who.plan] + rng.integers(0, 1500, rows)),
        "billed_at": billed,
        "days_to_pay": days,
        "paid_at": paid,
    }
    return {name: _arrow(values[sent]) for name, values in columns.items()}


def _scores(options: SimulatorOptions, month: int) -> dict[str, Any]:
    """Scores computed on the nights of the 1st and the 15th and delivered hours later; a few came out as -1."""
    who, rng = _customers(options, month), _rng(options, _SCORES, month)
    computed = np.repeat(_local(month, np.array([0, 14]), hour=2), len(who.ids))
    trouble, rows = np.tile(who.trouble + 0.5 * who.habit, 2), len(computed)
    score = np.clip(np.round(65 - 14 * trouble + 5 * rng.normal(size=rows), 1), 0, 100)
    columns = {
        "customer": np.tile(who.ids, 2),
        "score": np.where(rng.random(rows) < 0.003, -1.0, score),
        "computed_at": computed,
        "delivered_at": computed + np.timedelta64(5, "h"),
    }
    return {name: _arrow(values) for name, values in columns.items()}


def _cancellations(options: SimulatorOptions, month: int) -> dict[str, Any]:
    """Cancellations of a local month, after its bills and after those of the month before."""
    found = [_leaving(options, each) for each in (month - 1, month) if each >= 0]
    ids, timestamps = (np.concatenate(parts) for parts in zip(*found, strict=True))
    here = local_time(timestamps, TIMEZONE).astype("datetime64[M]") == _month(month)
    return {"customer": _arrow(ids[here]), "cancelled_at": _arrow(timestamps[here])}


def _leaving(options: SimulatorOptions, month: int) -> tuple[Array, Instants]:
    who = _customers(options, month)
    timestamps = _billed_at(who, month) + who.leaves_after
    return who.ids[~np.isnat(timestamps)], timestamps[~np.isnat(timestamps)]


@lru_cache(maxsize=128)
def _customers(options: SimulatorOptions, month: int) -> Customers:
    """The customers of a month, each with the timestamp at which they leave, if they do."""
    rng = _rng(options, _MOVES, month)
    who = _later(_customers(options, month - 1), rng, month) if month else _at_first(options.customers, rng)
    reasons = 1.3 * who.trouble + 0.8 * who.habit + 1.3 * (who.plan == 0) + 0.5 * (who.region == 0) + (who.tenure < 3)
    chance = 1 / (1 + np.exp(3.7 - reasons))
    seconds = rng.integers(DAY // np.timedelta64(1, "s"), 27 * 86400, len(chance)).astype("timedelta64[s]")
    leaves = np.where(rng.random(len(chance)) < chance, seconds, np.timedelta64("NaT", "s"))
    return replace(who, leaves_after=leaves)


def _at_first(count: int, rng: np.random.Generator) -> Customers:
    ids, referrer, traits = _names(0, np.arange(count)), rng.permutation(count), rng.normal(size=count)
    is_referred = referrer < np.arange(count)  # so that no two customers have referred each other
    return Customers(
        ids=ids,
        referrers=np.where(is_referred, ids[referrer], np.full(count, None, dtype=object)),
        plan=rng.integers(0, len(PLANS), count),
        region=rng.integers(0, len(REGIONS), count),
        tenure=rng.geometric(0.05, count) - 1,
        billing_day=rng.integers(0, 28, count),
        habit=np.where(is_referred, 0.8 * traits[referrer] + 0.6 * traits, traits),
        trouble=rng.normal(size=count),
        leaves_after=np.full(count, "NaT", "timedelta64[s]"),
    )


def _later(before: Customers, rng: np.random.Generator, month: int) -> Customers:
    """The customers a month later: those who stayed and, in place of each who left, a new one similar to their referrer."""
    count = len(before.ids)
    new, referrer = ~np.isnat(before.leaves_after), rng.integers(0, count, count)
    is_referred = rng.random(count) < 0.7
    habit = np.where(is_referred, 0.8 * before.habit[referrer], 0) + 0.6 * rng.normal(size=count)
    nobody = np.full(count, None, dtype=object)
    return Customers(
        ids=np.where(new, _names(month, np.arange(count)), before.ids),
        referrers=np.where(new, np.where(is_referred, before.ids[referrer], nobody), before.referrers),
        plan=np.where(new, rng.integers(0, len(PLANS), count), before.plan),
        region=np.where(new, rng.integers(0, len(REGIONS), count), before.region),
        tenure=np.where(new, 0, before.tenure + 1),
        billing_day=before.billing_day,
        habit=np.where(new, habit, before.habit),
        trouble=np.where(new, 0, 0.8 * before.trouble) + 0.6 * rng.normal(size=count),
        leaves_after=before.leaves_after,
    )


def _names(month: int, places: Array) -> Array:
    return np.array([f"c{place:04d}-{month:02d}" for place in places], dtype=object)


def _billed_at(who: Customers, month: int) -> Instants:
    return _local(month, who.billing_day, hour=6)


def _local(month: int, days: Array, hour: int) -> Instants:
    """UTC instants of an hour of local days, counted from 0."""
    wall_clock = _month(month).astype("datetime64[D]") + days * DAY + np.timedelta64(hour, "h")
    return utc_time(wall_clock, TIMEZONE)


def _arrow(values: Array) -> pa.Array:
    if values.dtype.kind == "M":
        return pa.array(values.astype("datetime64[us]")).cast(INSTANT)
    return pa.array(values, pa.string() if values.dtype.kind in "OU" else None)


def _rng(options: SimulatorOptions, stream: int, month: int) -> np.random.Generator:
    return np.random.default_rng([options.seed, stream, month])
