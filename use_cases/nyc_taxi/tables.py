"""The canonical tables, and how a delivered month of trip records is converted to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import Instants, Period, local_midnight, local_time, utc_time
from ratchet.core.errors import SourceError
from ratchet.sources.headers import Headers
from ratchet.sources.unreadable import converted, keep_lost
from ratchet.use_case.contract import INSTANT, Array
from use_cases.nyc_taxi.timezone import TIMEZONE

LAST_ZONE = 265
TRIPS = pa.schema(
    {
        "vendor": pa.int64(),
        "pickup_zone": pa.int64(),
        "dropoff_zone": pa.int64(),
        "pickup_at": INSTANT,
        "dropoff_at": INSTANT,
        "passenger_count": pa.int64(),
        "trip_type": pa.int64(),
        "distance_hundredths": pa.int64(),  # of a mile, by the meter
        "total_cents": pa.int64(),
        "duration_seconds": pa.int64(),
        "months_from_delivery": pa.int64(),  # local month of the pickup, counted from the delivered one
    }
)
ZONES = pa.schema(
    {
        "zone": pa.int64(),
        "borough": pa.string(),
        "name": pa.string(),
        "x_miles": pa.float64(),
        "y_miles": pa.float64(),
    }
)
WEATHER = pa.schema(
    {
        "day_start": INSTANT,
        "day_end": INSTANT,
        "wind_mph": pa.float64(),
        "precipitation_inches": pa.float64(),
        "snow_inches": pa.float64(),
        "snow_depth_inches": pa.float64(),
        "high_fahrenheit": pa.float64(),
        "low_fahrenheit": pa.float64(),
    }
)
CODES = {
    "VendorID": "vendor",
    "PULocationID": "pickup_zone",
    "DOLocationID": "dropoff_zone",
    "passenger_count": "passenger_count",
    "trip_type": "trip_type",
}
AMOUNTS = {"trip_distance": "distance_hundredths", "total_amount": "total_cents"}
PICKUP, DROPOFF = "lpep_pickup_datetime", "lpep_dropoff_datetime"
DELIVERED = {**CODES, **AMOUNTS, PICKUP: "pickup_at", DROPOFF: "dropoff_at"}
"""Column of a delivered month → its canonical column."""
HEADERS = Headers(
    "trip records",
    tuple(DELIVERED),
    renamed={"vendorid": "VendorID", "pulocationid": "PULocationID", "dolocationid": "DOLocationID"},
    required=("VendorID", PICKUP, DROPOFF, "PULocationID", "DOLocationID"),
)
"""How the columns of a month are found. The city's open data portal writes three of them differently."""


@dataclass(frozen=True)
class Month:
    """A calendar month in New York; one file holds one month."""

    first: date

    @classmethod
    def of(cls, day: date) -> Month:
        return cls(day.replace(day=1))

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"

    @property
    def following(self) -> Month:
        return Month.of(self.first + timedelta(days=31))

    @property
    def end(self) -> datetime:
        """The instant at which the following month begins."""
        return local_midnight(self.following.first, TIMEZONE)

    @property
    def period(self) -> Period:
        return Period(local_midnight(self.first, TIMEZONE), self.end)

    def days(self) -> list[date]:
        count = (self.following.first - self.first).days
        return [self.first + timedelta(days=day) for day in range(count)]


def months(period: Period) -> Iterator[Month]:
    """The local months that the period touches, in order."""
    zone = ZoneInfo(TIMEZONE)
    month = Month.of(period.start.astimezone(zone).date())
    while datetime(month.first.year, month.first.month, 1, tzinfo=zone) < period.end:
        yield month
        month = month.following


def trips(delivered: pa.Table, month: Month, subject: str) -> tuple[pa.Table, list[str]]:
    """A delivered month in canonical columns, its unreadable values, and notes on what was cast, emptied and dropped.

    A time that the jump to summer time skipped is unreadable. Raises SourceError.
    """
    places = HEADERS.places(delivered.column_names, subject)
    notes = list(_notes(delivered, places))
    delivered = _wanted(delivered, places)
    require(delivered, DELIVERED, subject)
    pickup_wall, dropoff_wall = (_wall_clock(delivered, name, subject) for name in (PICKUP, DROPOFF))
    pickup = utc_time(pickup_wall, TIMEZONE)
    dropoff = _dropoff(pickup, dropoff_wall)
    columns = {
        **{name: cast(delivered[source], pa.int64()) for source, name in CODES.items()},
        **{name: _hundredths(delivered[source]) for source, name in AMOUNTS.items()},
        "pickup_at": instants(pickup),
        "dropoff_at": instants(dropoff),
        "duration_seconds": _whole(dropoff - pickup, "s"),
        "months_from_delivery": _whole(pickup_wall.astype("datetime64[M]") - np.datetime64(str(month), "M"), "M"),
    }
    rows = pa.table([columns[name] for name in TRIPS.names], schema=TRIPS)
    given = {name: delivered[source] for source, name in DELIVERED.items()}
    return keep_lost(rows, given), notes


def _wanted(delivered: pa.Table, places: Mapping[str, int]) -> pa.Table:
    """The columns of a month under their present headers. An optional one that it does not have is null."""
    nothing = pa.chunked_array([pa.nulls(delivered.num_rows)])
    return pa.table({name: delivered.column(places[name]) if name in places else nothing for name in DELIVERED})


def require(delivered: pa.Table, names: Iterable[str], subject: str) -> None:
    """Raises SourceError for a table that lacks one of the columns, or has no rows."""
    missing = [name for name in names if name not in delivered.column_names]
    if missing:
        raise SourceError(f"lacks column {', '.join(missing)}", subject=subject, remedy="Deliver it again, whole")
    if not delivered.num_rows:
        raise SourceError("holds no rows", subject=subject, remedy="Deliver it again, or leave it out of the period")


def cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Values in another type. A value that the type cannot represent exactly is null; so is every boolean."""
    nothing = pa.chunked_array([pa.nulls(len(values), kind)])
    if pa.types.is_boolean(values.type):
        return nothing
    try:
        return converted(values, lambda some: some.cast(kind))
    except pa.ArrowNotImplementedError:  # Arrow cannot convert between these types
        return nothing


def conform(columns: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, in its types, and their unreadable values."""
    rows = pa.table([cast(columns[field.name], field.type) for field in schema], schema=schema)
    return keep_lost(rows, {name: columns[name] for name in schema.names})


def instants(times: Instants) -> pa.Array:
    """UTC timestamps as an Arrow array, NaT as null."""
    return pa.array(times.astype("datetime64[us]")).cast(INSTANT)


def midnights(days: Sequence[date]) -> pa.Array:
    """The timestamp at which each local day begins."""
    return instants(utc_time(np.array(days, "datetime64[us]"), TIMEZONE))


def _hundredths(amounts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers, so that sums over them are exact in any order."""
    return cast(pc.round(pc.multiply(cast(amounts, pa.float64()), 100.0)), pa.int64())


def _wall_clock(delivered: pa.Table, name: str, subject: str) -> Instants:
    kind = delivered.schema.field(name).type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        raise SourceError(
            f"column {name} is {kind}, not naive local time",
            subject=subject,
            remedy="Deliver New York wall-clock times",
        )
    return np.asarray(cast(delivered[name], pa.timestamp("us")).to_numpy())


def _dropoff(pickup: Instants, wall_clock: Instants) -> Instants:
    """The dropoff in UTC. An ambiguous time means its first occurrence, unless that is before the pickup."""
    first = utc_time(wall_clock, TIMEZONE)
    second = first + np.timedelta64(1, "h")
    is_second = (first < pickup) & (local_time(second, TIMEZONE) == wall_clock)
    return np.where(is_second, second, first)


def _whole(spans: Array, unit: str) -> pa.Array:
    """Time spans as integers of `unit`, NaT as null."""
    return pa.array(spans.astype(f"timedelta64[{unit}]").astype(np.int64), mask=np.isnat(spans))


def _notes(delivered: pa.Table, places: Mapping[str, int]) -> Iterator[str]:
    wanted = {place: name for name, place in places.items()}
    for place, (field, column) in enumerate(zip(delivered.schema, delivered.columns, strict=True)):
        empty = column.null_count == len(column)
        if place not in wanted:
            keeping = (
                "it had no values" if empty else f"to keep it, add it to TRIPS and to CODES or AMOUNTS in {__name__}"
            )
            yield f"{field.name} ({field.type}): dropped; {keeping}"
            continue
        target = TRIPS.field(DELIVERED[wanted[place]])
        if empty:
            yield f"{field.name}: had no values, {target.name} is null"
        elif field.type != target.type or field.name != wanted[place]:
            yield f"{field.name}: {field.type} → {target.name} {target.type}"
    for name in HEADERS.optional:
        if name not in places:
            yield f"{name}: is not delivered, so {DELIVERED[name]} is null in every row"
