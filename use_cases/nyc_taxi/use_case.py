"""Predict, when a taxi picks somebody up in New York, how many minutes the trip will take."""

from __future__ import annotations

from datetime import timedelta

import ibis
from ibis import _
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ratchet.use_case.contract import Lookup, SourceTable, Tables, UseCase, View
from use_cases.nyc_taxi import features, rules
from use_cases.nyc_taxi.on_demand import on_demand
from use_cases.nyc_taxi.simulator import simulator
from use_cases.nyc_taxi.sources import tlc
from use_cases.nyc_taxi.tables import LAST_ZONE, TRIPS, WEATHER, ZONES
from use_cases.nyc_taxi.timezone import TIMEZONE


class Trip(BaseModel):
    """What is known at pickup. Zones 264 and 265 mean an unknown place."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    pickup_zone: int = Field(ge=1, le=LAST_ZONE)
    dropoff_zone: int = Field(ge=1, le=LAST_ZONE)
    pickup_at: AwareDatetime
    passenger_count: int | None = Field(None, ge=0, le=99)
    vendor: int | None = Field(None, ge=0, le=99)
    trip_type: int | None = Field(None, ge=0, le=99)


def examples(tables: Tables) -> ibis.Table:
    """One request for each trip, at its pickup. Its duration is known once it has arrived after its dropoff."""
    return tables["trips"].select(
        "pickup_zone",
        "dropoff_zone",
        "passenger_count",
        "vendor",
        "trip_type",
        request_id=_.row_key,
        event_timestamp=_.pickup_at,
        label=_.duration_seconds / 60,
        label_known_at=_.row_arrived_at,
    )


TRIPS_TABLE = SourceTable(
    "trips",
    TRIPS,
    key=("vendor", "pickup_at", "pickup_zone", "dropoff_zone"),
    event_time="pickup_at",
    known_at="dropoff_at",
    early=("vendor", "pickup_zone", "dropoff_zone", "passenger_count", "trip_type"),
    rules=rules.TRIP_RULES,
)

use_case = UseCase(
    name="nyc_taxi",
    task="regression",
    timezone=TIMEZONE,
    label="duration",
    unit="minutes",
    tables=(
        TRIPS_TABLE,
        SourceTable("zones", ZONES, key=("zone",), rules=rules.ZONE_RULES),
        SourceTable(
            "weather",
            WEATHER,
            key=("day_start",),
            event_time="day_start",
            known_at="day_end",
            rules=rules.WEATHER_RULES,
        ),
    ),
    sources={"simulator": simulator, "tlc": tlc},
    views=(
        *features.histories(TRIPS_TABLE),
        View("zone_position", ("zone",), features.zone_position, lookback=None, max_age=None),
        View("city_weather", ("city",), features.city_weather, lookback=timedelta(days=2), max_age=timedelta(days=2)),
    ),
    lookups=(
        Lookup("pickup_zone_hourly", {"pickup_zone": "pickup_zone"}),
        Lookup("city_traffic", {"city": "city"}),
        Lookup("route", {"pickup_zone": "pickup_zone", "dropoff_zone": "dropoff_zone"}),
        Lookup("zone_position", {"zone": "pickup_zone"}, name="pickup_position"),
        Lookup("zone_position", {"zone": "dropoff_zone"}, name="dropoff_position"),
        Lookup("city_weather", {"city": "city"}),
    ),
    request=Trip,
    event_timestamp="pickup_at",
    examples=examples,
    on_demand=on_demand,
    constants={"city": features.CITY},
    inputs={
        "pickup_zone": "category",
        "dropoff_zone": "category",
        "passenger_count": "number",
        "vendor": "category",
        "trip_type": "category",
        "minute_of_day": "number",
        "weekday": "number",
        "miles_east": "number",
        "miles_north": "number",
        "miles_straight": "number",
        "miles_by_blocks": "number",
        "same_zone": "number",
        "pickup_position__x_miles": "number",
        "pickup_position__y_miles": "number",
        "dropoff_position__x_miles": "number",
        "dropoff_position__y_miles": "number",
        "pickup_zone_hourly__trips_1h": "number",
        "pickup_zone_hourly__minutes_1h": "number",
        "pickup_zone_hourly__mph_1h": "number",
        "pickup_zone_hourly__trips_24h": "number",
        "pickup_zone_hourly__minutes_24h": "number",
        "pickup_zone_hourly__mph_24h": "number",
        "pickup_zone_hourly__trips_7d": "number",
        "pickup_zone_hourly__minutes_7d": "number",
        "pickup_zone_hourly__mph_7d": "number",
        "city_traffic__trips_1h": "number",
        "city_traffic__minutes_1h": "number",
        "city_traffic__mph_1h": "number",
        "city_traffic__mph_24h": "number",
        "route__trips_28d": "number",
        "route__minutes_28d": "number",
        "route__miles_28d": "number",
        "city_weather__precipitation_inches": "number",
        "city_weather__snow_depth_inches": "number",
        "city_weather__high_fahrenheit": "number",
        "city_weather__wind_mph": "number",
    },
    baseline=(("pickup_zone", "dropoff_zone"), ("pickup_zone",), ()),
)
