"""TLC trip records: a folder of monthly Parquet files, and the reference files beside it.

The derived centroids repeat zones 56 and 103 (one row for each polygon of the same name) and lack 57, 104, 105, 264 and
265. Repeated rows are averaged; a zone that has none takes the position of the zone of the same name (57 that of 56,
104 and 105 that of 103); 264 and 265 stand for an unknown place and have no position.

DVC watches a source's `path` alone: a replaced reference file is read once the stage ingest is run again by hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ratchet.clock import Period
from ratchet.errors import SourceError
from ratchet.settings import PARAMS_FILE, Frozen, parse
from ratchet.tables import digest, md5
from ratchet.use_case import Delivery
from use_cases.nyc_taxi import tables
from use_cases.nyc_taxi.tables import WEATHER, ZONES, Month, months

LOOKUP, CENTROIDS, DAILY_WEATHER = "taxi_zone_lookup.csv", "zone_centroids_derived.csv", "central_park_weather.csv"
READINGS = {
    "AWND": "wind_mph",
    "PRCP": "precipitation_inches",
    "SNOW": "snow_inches",
    "SNWD": "snow_depth_inches",
    "TMAX": "high_fahrenheit",
    "TMIN": "low_fahrenheit",
}
Position = tuple[float, float]
Read = tuple[pa.Table, list[str]]


class TlcOptions(Frozen):
    """`reference`: the folder of zone and weather files; by default `ref` beside the folder of months."""

    reference: str = ""


def tlc(path: str, options: Mapping[str, Any], period: Period) -> list[Delivery]:
    """A delivery for each local month of the period: trips from `green_tripdata_YYYY-MM.parquet`, and the weather.

    Weather also covers the day before the period, as what was known when it began. Raises SourceError for a missing file.
    """
    chosen = parse(TlcOptions, options, f"{PARAMS_FILE}, source.options")
    reference = Path(chosen.reference) if chosen.reference else Path(path).parent / "ref"
    with_eve = Period(period.start - timedelta(days=1), period.end)
    files = {month: _file(Path(path), f"green_tripdata_{month}.parquet") for month in months(period)}
    lookup, centroids, days = (_file(reference, name) for name in (LOOKUP, CENTROIDS, DAILY_WEATHER))
    return [
        *(_delivery("trips", str(month), partial(read_trips, file, month), file) for month, file in files.items()),
        _delivery("zones", "zones", partial(read_zones, lookup, centroids), lookup, centroids),
        *(_delivery("weather", str(month), partial(read_weather, days, month), days) for month in months(with_eve)),
    ]


def _delivery(table: str, batch: str, read: Callable[[], Read], *paths: Path) -> Delivery:
    return Delivery(table, batch, digest(batch, [md5(path) for path in paths]), read)


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        problem = "there is no such folder" if not folder.is_dir() else f"{name} is missing"
        raise SourceError(
            problem, subject=str(folder), remedy=f"Put {name} there, or change source and periods in {PARAMS_FILE}"
        )
    return path


def read_trips(path: Path, month: Month) -> Read:
    """One month in canonical columns. Raises SourceError for a file that is cut short, empty or lacks a column."""
    try:
        delivered = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"cannot be read as Parquet ({error})", subject=str(path), remedy="Deliver the month again, whole"
        ) from error
    return tables.trips(delivered, month, str(path))


def read_zones(lookup: Path, centroids: Path) -> Read:
    """Every zone with its position, where it has one. Raises SourceError."""
    zones = _read_csv(lookup, ("locationid", "borough", "zone"))
    ids, names = zones["locationid"].to_pylist(), zones["zone"].to_pylist()
    own, repeated = _positions(centroids)
    shared = {name: own[zone] for zone, name in zip(ids, names, strict=True) if zone in own}
    positions = [own.get(zone, shared.get(name)) for zone, name in zip(ids, names, strict=True)]
    x, y = zip(*(position or (None, None) for position in positions), strict=True)
    columns = dict(zip(ZONES.names, (ids, zones["borough"], names, x, y), strict=True))
    borrowed = [zone for zone, position in zip(ids, positions, strict=True) if position and zone not in own]
    unknown = [zone for zone, position in zip(ids, positions, strict=True) if not position]
    return tables.conform(pa.table(columns), ZONES, str(lookup)), [
        f"position of {repeated}: the mean of its rows",
        f"position of {borrowed}: that of the zone of the same name",
        f"position of {unknown}: unknown",
    ]


def _positions(centroids: Path) -> tuple[dict[int, Position], list[int]]:
    """Zone → the mean of its centroids, in miles east and north; and which zones had several."""
    table = _read_csv(centroids, ("LocationID", "x_miles", "y_miles"))
    rows = defaultdict(list)
    for zone, *position in zip(
        *(table[name].to_pylist() for name in ("LocationID", "x_miles", "y_miles")), strict=True
    ):
        rows[zone].append(position)
    means = {zone: (fmean(x for x, _ in found), fmean(y for _, y in found)) for zone, found in rows.items()}
    return means, [zone for zone, found in rows.items() if len(found) > 1]


def read_weather(path: Path, month: Month) -> Read:
    """The days of a month: each is known when it has ended. Raises SourceError."""
    readings = _read_csv(path, ("DATE", *READINGS))
    days = tables.cast(readings, "DATE", pa.date32(), str(path))
    inside = pc.and_(pc.greater_equal(days, month.first), pc.less(days, month.following.first))
    found, subject = readings.filter(inside), f"{path}, {month}"
    tables.require(found, READINGS, subject)
    return weather(found["DATE"].to_pylist(), {name: found[source] for source, name in READINGS.items()}, subject), []


def weather(days: list[date], readings: Mapping[str, Any], subject: str) -> pa.Table:
    """Local days and their readings in canonical columns. Raises SourceError."""
    following = [day + timedelta(days=1) for day in days]
    spans = {"day_start": tables.midnights(days), "day_end": tables.midnights(following)}
    return tables.conform(pa.table({**spans, **readings}), WEATHER, subject)


def _read_csv(path: Path, columns: Iterable[str]) -> pa.Table:
    try:
        table = pyarrow.csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"cannot be read as CSV ({error})", subject=str(path), remedy="Put the file back, whole"
        ) from error
    tables.require(table, columns, str(path))
    return table
