"""Predict how many rides begin at a station in the coming hour, for every station and hour: mostly few, often none."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import ibis
import pyarrow as pa
from ibis import _
from pydantic import AwareDatetime, BaseModel

from ratchet.use_case.contract import INSTANT, Lookup, SourceTable, Tables, UseCase, View, expect
from ratchet.use_case.request_fields import kinds_of, numbers
from ratchet.use_case.windows import UTC_INSTANT, trailing
from use_cases.demand.on_demand import never_negative, on_demand
from use_cases.demand.simulator import simulator
from use_cases.demand.timezone import TIMEZONE

CITY = "copenhagen"
TEXT, WHOLE = pa.string(), pa.int64()


class Hour(BaseModel):
    """What is known about a station when an hour begins."""

    station: str
    district: str
    hour_start: AwareDatetime


STATIONS = SourceTable("stations", pa.schema({"station": TEXT, "district": TEXT}), key=("station",))
RIDES = SourceTable(
    "rides",
    pa.schema({"ride": TEXT, "station": TEXT, "started_at": INSTANT, "seconds": WHOLE, "ended_at": INSTANT}),
    key=("ride",),
    event_time="started_at",
    known_at="ended_at",
    early=("ride", "station"),
    rules={
        "no_station": expect("column_values_to_not_be_null", column="station"),
        "outside_1_to_120_minutes": expect(
            "column_values_to_be_between", column="seconds", min_value=60, max_value=7200
        ),
    },
)
HOURS = SourceTable(  # of operation; `complete_at` is null until all rides of the hour have been delivered
    "hours",
    pa.schema({"hour_start": INSTANT, "complete_at": INSTANT}),
    key=("hour_start",),
    event_time="hour_start",
    known_at="complete_at",
)
CALENDAR = SourceTable(  # published at noon of the day before
    "calendar",
    pa.schema({"day_start": INSTANT, "is_holiday": pa.bool_(), "published_at": INSTANT}),
    key=("day_start",),
    event_time="published_at",
)
rides_before = partial(trailing, table=RIDES, tile="1h", delay="2h", sums={"rides": 1})


def day(tables: Tables) -> ibis.Table:
    """Whether a local day is a holiday. It counts from the beginning of that day."""
    in_time = tables["calendar"].filter(_.row_available_at <= _.day_start)
    return in_time.select("is_holiday", city=ibis.literal(CITY), event_timestamp=_.day_start)


def by_district(tables: Tables) -> ibis.Table:
    return tables["rides"].join(tables["stations"].select("station", "district"), "station")


def examples(tables: Tables) -> ibis.Table:
    """One request for each station and hour of operation, with 0 if nobody came, and null if rides may be missing."""
    hour_start = _.started_at.truncate("h").cast(UTC_INSTANT)
    rides = tables["rides"].group_by("station", hour_start=hour_start).agg(rides=_.count())
    grid = tables["hours"].cross_join(tables["stations"].select("station", "district"))
    return grid.left_join(rides, ["station", "hour_start"]).select(
        "station",
        "district",
        request_id=_.row_key + ":" + _.station,
        event_timestamp=_.hour_start,
        label=_.complete_at.notnull().ifelse(_.rides.fill_null(0), None),
        label_known_at=_.row_arrived_at,
    )


use_case = UseCase(
    name="demand",
    task="regression",
    timezone=TIMEZONE,
    label="rides",
    unit="rides",
    tables=(STATIONS, RIDES, HOURS, CALENDAR),
    sources={"simulator": simulator},
    views=(
        rides_before("station_rides", ("station",), windows=("1h", "24h", "7d")),
        rides_before("district_rides", ("district",), windows=("1h", "24h"), rows=by_district),
        View("day", ("city",), day, lookback=timedelta(days=2), max_age=timedelta(hours=25)),
    ),
    lookups=(
        Lookup("station_rides", {"station": "station"}, name="here"),
        Lookup("district_rides", {"district": "district"}, name="around"),
        Lookup("day", {"city": "city"}),
    ),
    request=Hour,
    event_timestamp="hour_start",
    examples=examples,
    constants={"city": CITY},
    on_demand=on_demand,
    postprocess=never_negative,
    inputs={
        **kinds_of(Hour, hour="category"),
        **numbers("weekday", "day_off", "here__rides_1h", "here__rides_24h", "here__rides_7d"),
        **numbers("around__rides_1h", "around__rides_24h"),
    },
    baseline=(("station", "hour"), ("station",), ()),
)
