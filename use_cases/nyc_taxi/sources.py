"""TLC trip records: a folder of monthly Parquet files, and the reference files beside it.

The derived centroids repeat zones 56 and 103 (one row for each polygon of the same name), and do not have 57, 104, 105, 264
and 265. Repeated rows are averaged. A zone without a row takes the position of the zone with the same name (57 that of 56,
104 and 105 that of 103). Zones 264 and 265 mean an unknown place and have no position.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ratchet.core.clock import Period, local_midnight
from ratchet.core.errors import SourceError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import PARAMS_FILE, parse
from ratchet.sources.csv_lines import count_rows
from ratchet.storage.digests import digest, md5
from ratchet.use_case.batch import Batch, Gap, Unread
from use_cases.nyc_taxi import tables
from use_cases.nyc_taxi.tables import WEATHER, ZONES, Month, months
from use_cases.nyc_taxi.timezone import TIMEZONE

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


def tlc(path: str, options: Mapping[str, Any], period: Period) -> list[Batch | Gap | Unread]:
    """The zones, and a batch for each local month of the period: trips from `green_tripdata_YYYY-MM.parquet`, and weather.

    A month without a file is a gap if a later month has one; otherwise it has not been delivered yet. The weather includes the
    day before the period, which is known when the period begins. Raises SourceError if there is no month, or no reference file.
    """
    chosen = parse(TlcOptions, options, f"{PARAMS_FILE}, source.options")
    reference = Path(chosen.reference) if chosen.reference else Path(path).parent / "ref"
    with_eve = Period(period.start - timedelta(days=1), period.end)
    files = _months(Path(path), [*months(period)])
    lookup, centroids, days = (_file(reference, name) for name in (LOOKUP, CENTROIDS, DAILY_WEATHER))
    return [
        *(_trips(month, file) if file.is_file() else _gap("trips", month) for month, file in files.items()),
        _batch("zones", "zones", partial(read_zones, lookup, centroids), lookup, centroids),
        *_weather_batches(days, [*months(with_eve)]),
        *_others(Path(path), set(files.values())),
    ]


def _months(folder: Path, asked: Sequence[Month]) -> dict[Month, Path]:
    """The file of each month up to the last one that was delivered. Raises SourceError if none was."""
    files = {month: folder / f"green_tripdata_{month}.parquet" for month in asked}
    there = [month for month, file in files.items() if file.is_file()]
    if not there:
        _file(folder, f"green_tripdata_{asked[0]}.parquet")
    return {month: file for month, file in files.items() if month.first <= there[-1].first}


def _trips(month: Month, file: Path) -> Batch:
    batch = _batch("trips", str(month), partial(read_trips, file, month), file)
    return replace(batch, count=lambda: _metadata(file).num_rows, complete_until=month.end, period=month.period)


def _gap(table: str, month: Month) -> Gap:
    return Gap(table, str(month), month.period)


def _weather_batches(file: Path, asked: Sequence[Month]) -> Iterator[Batch | Gap]:
    """The readings of each month up to the last one that has any. If the file cannot be read, no month can."""
    try:
        readings = _readings(file)
        found = {month: rows for month in asked if (rows := _of_month(readings, month, file)).num_rows}
    except SourceError:
        yield from (_weather(month, file, digest(str(month), md5(file))) for month in asked)
        return
    for month in asked:
        if month in found:
            days, content = found[month]["DATE"].to_pylist(), digest(str(month), found[month].to_pydict())
            end = local_midnight(max(days) + timedelta(days=1), TIMEZONE)
            yield replace(_weather(month, file, content), complete_until=end)
        elif any(month.first < later.first for later in found):
            yield _gap("weather", month)


def _weather(month: Month, file: Path, content: str) -> Batch:
    """The readings of a month, which change with the digest `content`."""
    return Batch("weather", str(month), content, partial(read_weather, file, month), files=[file], period=month.period)


def _others(folder: Path, read: Collection[Path]) -> Iterator[Unread]:
    """Entries of the folder that are not read."""
    for path in sorted({*folder.iterdir()} - {*read}):
        yield Unread(path.name, _why_unread(path.name, {each.name for each in read}))


def _why_unread(name: str, read: Collection[str]) -> str:
    month = re.match(r"green_tripdata_\d{4}-\d\d", name)
    if month is None:
        return "is no green_tripdata_YYYY-MM.parquet"
    own = f"{month[0]}.parquet"
    if name == own:
        return "is of no month of the period"
    is_again = f"; that month is read from {own}, so rename it to that to replace it" if own in read else ""
    return f"is no green_tripdata_YYYY-MM.parquet{is_again}"


def _batch(table: str, batch: str, read: Callable[[], Read], *paths: Path) -> Batch:
    return Batch(table, batch, digest(batch, [md5(path) for path in paths]), read, files=paths)


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        problem = "there is no such folder" if not folder.is_dir() else f"{name} is missing"
        raise SourceError(
            problem,
            subject=str(folder),
            remedy=f"Put {name} there, or change source and windows.start in {PARAMS_FILE}",
        )
    return path


def read_trips(path: Path, month: Month) -> Read:
    """One month in canonical columns. Raises SourceError if the file is cut short or empty, or has no such column."""
    with _whole(path):
        delivered = pq.read_table(path, partitioning=None)
    return tables.trips(delivered, month, str(path))


def _metadata(path: Path) -> pq.FileMetaData:
    with _whole(path):
        return pq.read_metadata(path)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turns the errors of a block that reads a Parquet file into SourceError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"cannot be read as Parquet ({error})", subject=str(path), remedy="Deliver the month again, whole"
        ) from error


def read_zones(lookup: Path, centroids: Path) -> Read:
    """Every zone, with its position if it has one. Raises SourceError."""
    zones = _read_csv(lookup, ("locationid", "borough", "zone"))
    ids, names = tables.cast(zones["locationid"], pa.int64()).to_pylist(), zones["zone"].to_pylist()
    own, repeated = _positions(centroids)
    shared = {name: own[zone] for zone, name in zip(ids, names, strict=True) if zone in own}
    positions = [own.get(zone, shared.get(name)) for zone, name in zip(ids, names, strict=True)]
    x, y = zip(*(position or (None, None) for position in positions), strict=True)
    columns = dict(zip(ZONES.names, (zones["locationid"], zones["borough"], names, x, y), strict=True))
    borrowed = [zone for zone, position in zip(ids, positions, strict=True) if position and zone not in own]
    unknown = [zone for zone, position in zip(ids, positions, strict=True) if not position]
    return tables.conform(pa.table(columns), ZONES), [
        f"position of {repeated}: the mean of its rows",
        f"position of {borrowed}: that of the zone of the same name",
        f"position of {unknown}: unknown",
    ]


def _positions(centroids: Path) -> tuple[dict[int, Position], list[int]]:
    """Zone → the mean of its centroids, in miles east and north; and which zones had several."""
    kinds = {"LocationID": pa.int64(), "x_miles": pa.float64(), "y_miles": pa.float64()}
    table = _read_csv(centroids, kinds)
    rows = defaultdict(list)
    columns = (_all_cast(table, name, kind, centroids).to_pylist() for name, kind in kinds.items())
    for zone, *position in zip(*columns, strict=True):
        rows[zone].append(position)
    means = {zone: (fmean(x for x, _ in found), fmean(y for _, y in found)) for zone, found in rows.items()}
    return means, [zone for zone, found in rows.items() if len(found) > 1]


def read_weather(path: Path, month: Month) -> Read:
    """The days of a month: each is known when it has ended. Raises SourceError."""
    found = _of_month(_readings(path), month, path)
    tables.require(found, READINGS, f"{path}, {month}")
    return weather(found["DATE"].to_pylist(), {name: found[source] for source, name in READINGS.items()}), []


def _readings(path: Path) -> pa.Table:
    return _read_csv(path, ("DATE", *READINGS))


def _of_month(readings: pa.Table, month: Month, path: Path) -> pa.Table:
    days = _all_cast(readings, "DATE", pa.date32(), path)
    return readings.filter(pc.and_(pc.greater_equal(days, month.first), pc.less(days, month.following.first)))


def weather(days: list[date], readings: Mapping[str, Any]) -> pa.Table:
    """Local days and their readings in canonical columns, and their unreadable values."""
    following = [day + timedelta(days=1) for day in days]
    spans = {"day_start": tables.midnights(days), "day_end": tables.midnights(following)}
    return tables.conform(pa.table({**spans, **readings}), WEATHER)


def _all_cast(table: pa.Table, name: str, kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    """A column that every row needs, in another type. Raises SourceError for a value that does not have that type."""
    values = tables.cast(table[name], kind)
    if values.null_count:
        row = pc.index(pc.is_null(values), True).as_py()
        raise SourceError(
            f"column {name}, row {row + 1} after the header: {table[name][row].as_py()!r} is no {kind}",
            subject=str(path),
            remedy="Fix the row, or remove it",
        )
    return values


def _read_csv(path: Path, columns: Iterable[str]) -> pa.Table:
    """A CSV file. Raises SourceError if not all of its rows can be read."""
    rows = count_rows(path)
    try:
        table = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"cannot be read as CSV ({error})", subject=str(path), remedy="Put the file back, whole"
        ) from error
    if table.num_rows != rows:
        raise SourceError(
            f"{table.num_rows} rows were read of the {rows} that it holds",
            subject=str(path),
            remedy="Put it back, whole",
        )
    tables.require(table, columns, str(path))
    return table
