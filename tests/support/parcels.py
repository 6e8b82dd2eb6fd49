"""A third use case, for the feature store: roles of one view, a composite key, a constant key and a static view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from ibis import _
from pydantic import AwareDatetime, BaseModel

from ratchet.core.clock import FixedClock, Period
from ratchet.core.environment import Environment
from ratchet.core.settings import Settings, SourceSettings
from ratchet.project.run import Run
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import Lookup, SourceTable, Tables, UseCase, View
from tests.support.parcels_on_demand import on_demand
from tests.support.windows import as_of, windows

INSTANT = pa.timestamp("us", "UTC")
UTC_INSTANT = "timestamp('UTC', 6)"
PARCELS = pa.schema(
    {"sender": pa.int64(), "receiver": pa.int64(), "grams": pa.int64(), "sent_at": INSTANT, "arrived_at": INSTANT}
)
DEPOTS = pa.schema({"depot": pa.int64(), "north": pa.float64()})
END = datetime(2024, 4, 5, tzinfo=UTC)
DAYS = (date(2024, 3, 1), date(2024, 3, 20), date(2024, 3, 25), date(2024, 4, 1), date(2024, 4, 5))


def parcel_rows(day: int, parcels: int = 12) -> pa.Table:
    """Parcels sent on the n-th day of March 2024; each arrives within two days."""
    rng = np.random.default_rng(day)
    sent = np.datetime64("2024-03-01", "us") + np.sort(rng.integers(0, 86400, parcels) * 10**6 + day * 86400 * 10**6)
    columns = {
        "sender": rng.integers(0, 4, parcels),
        "receiver": pa.array(rng.integers(0, 4, parcels), mask=rng.random(parcels) < 0.2),
        "grams": rng.integers(1, 9, parcels),
        "sent_at": pa.array(sent, pa.timestamp("us")),
        "arrived_at": pa.array(sent + rng.integers(1, 172800, parcels) * 10**6, pa.timestamp("us")),
    }
    return pa.table(columns).cast(PARCELS)


def depot_rows() -> pa.Table:
    return pa.table({"depot": [0, 1, 2, 3], "north": [1.5, None, -2.0, 0.0]}, schema=DEPOTS)


def feed(path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch]:
    yield Batch("depots", "depots", "depots", lambda: (depot_rows(), []))
    for day in range(36):
        yield Batch("parcels", f"day-{day:02d}", str(day), lambda day=day: (parcel_rows(day), []))  # type: ignore[misc]


def _arrivals(tables: Tables) -> ibis.Table:
    """Parcels from the hour after their arrival on."""
    arrived = tables["parcels"].filter(_.arrived_at.notnull())
    hour = (_.arrived_at.truncate("h") + ibis.interval(hours=1)).cast(UTC_INSTANT)
    return arrived.mutate(event_timestamp=hour, network=ibis.literal("post"))


def _last_days(arrivals: ibis.Table, *keys: str) -> ibis.Table:
    hourly = arrivals.group_by([*keys, "event_timestamp"]).agg(n=_.count(), grams=_.grams.sum())
    window = ibis.range_window(group_by=keys, order_by="event_timestamp", preceding=ibis.interval(days=5), following=0)
    return hourly.select(
        *keys,
        "event_timestamp",
        parcels=_.n.sum().over(window).cast("int64"),
        grams=_.grams.sum().over(window) / _.n.sum().over(window),
    )


def depot(tables: Tables) -> ibis.Table:
    return _last_days(_arrivals(tables).mutate(depot=_.receiver), "depot")


def route(tables: Tables) -> ibis.Table:
    return _last_days(_arrivals(tables), "sender", "receiver")


def network(tables: Tables) -> ibis.Table:
    return _last_days(_arrivals(tables), "network")


def position(tables: Tables) -> ibis.Table:
    since = ibis.timestamp("2000-01-01").cast(UTC_INSTANT)
    return tables["depots"].select(
        "depot", "north", event_timestamp=since, is_north=_.north > 0, name=_.depot.cast("string")
    )


def examples(tables: Tables) -> ibis.Table:
    return tables["parcels"].select(
        "sender",
        "receiver",
        request_id=_.row_key,
        event_timestamp=_.sent_at,
        label=(_.arrived_at.epoch_seconds() - _.sent_at.epoch_seconds()) / 3600,
        label_known_at=_.arrived_at,
    )


class Parcel(BaseModel):
    """What is known when a parcel is handed in."""

    sender: int
    receiver: int | None
    sent_at: AwareDatetime


use_case = UseCase(
    name="parcels",
    task="regression",
    timezone="Europe/Berlin",
    label="hours",
    unit="hours",
    tables=(
        SourceTable(
            "parcels",
            PARCELS,
            key=("sender", "sent_at"),
            event_time="sent_at",
            known_at="arrived_at",
            early=("sender", "receiver"),
        ),
        SourceTable("depots", DEPOTS, key=("depot",)),
    ),
    sources={"feed": feed},
    views=(
        View("depot", ("depot",), depot, lookback=timedelta(days=8), max_age=timedelta(days=3)),
        View("route", ("sender", "receiver"), route, lookback=timedelta(days=8), max_age=timedelta(hours=30)),
        View("network", ("network",), network, lookback=timedelta(days=8), max_age=timedelta(hours=2)),
        View("position", ("depot",), position, lookback=None, max_age=None),
    ),
    lookups=(
        Lookup("depot", {"depot": "sender"}, name="from_depot"),
        Lookup("depot", {"depot": "receiver"}, name="to_depot"),
        Lookup("route", {"sender": "sender", "receiver": "receiver"}),
        Lookup("network", {"network": "network"}),
        Lookup("position", {"depot": "receiver"}, name="to_position"),
    ),
    request=Parcel,
    event_timestamp="sent_at",
    examples=examples,
    on_demand=on_demand,
    inputs={"sender": "category", "night": "number", "to_depot__parcels": "number", "network__grams": "number"},
    baseline=((),),
    constants={"network": "post"},
)


def parcels_project(root: Path) -> Run:
    """Five weeks in spring, across the change to summer time; the clock stands at their end."""
    source = SourceSettings(name="feed", path="tests/support/parcels.py")
    settings = Settings(use_case="tests.support.parcels", source=source, windows=windows(DAYS))
    return Run(root, settings, as_of(DAYS[-1], "Europe/Berlin"), Environment(), FixedClock(END))


def requests(timestamp: datetime, senders: list[Any], receivers: list[Any]) -> dict[str, Any]:
    """Requests as columns, all at one timestamp."""
    stamp = np.datetime64(timestamp.astimezone(UTC).replace(tzinfo=None), "us")
    return {
        "sender": np.array(senders, np.float64),
        "receiver": np.array(receivers, np.float64),
        "network": np.full(len(senders), "post"),
        "event_timestamp": np.full(len(senders), stamp),
    }
