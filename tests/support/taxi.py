"""Trip records as TLC delivers them, a small taxi project, and where the real months are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.core.clock import FixedClock
from ratchet.core.settings import Settings, SourceSettings
from ratchet.project.run import Run
from tests.support.windows import as_of, windows
from use_cases.nyc_taxi.timezone import TIMEZONE

ROOT = Path(__file__).parents[2]
REAL_MONTHS = (ROOT.parent / "shared" / "data" / "tlc_green", ROOT.parent.parent / "shared" / "data" / "tlc_green")
DELIVERED = pa.schema(
    {
        "VendorID": pa.int64(),
        "lpep_pickup_datetime": pa.timestamp("us"),
        "lpep_dropoff_datetime": pa.timestamp("us"),
        "PULocationID": pa.int64(),
        "DOLocationID": pa.int64(),
        "passenger_count": pa.int64(),
        "trip_type": pa.int64(),
        "trip_distance": pa.float64(),
        "total_amount": pa.float64(),
    }
)
TRIP = {
    "VendorID": 2,
    "lpep_pickup_datetime": datetime(2023, 3, 6, 10, 0),  # noqa: DTZ001 - TLC's times are naive
    "lpep_dropoff_datetime": datetime(2023, 3, 6, 10, 15),  # noqa: DTZ001
    "PULocationID": 74,
    "DOLocationID": 75,
    "passenger_count": 1,
    "trip_type": 1,
    "trip_distance": 1.23,
    "total_amount": 10.5,
}


def delivered(*changes: Mapping[str, Any]) -> pa.Table:
    """A row for each of `changes`: an ordinary trip of March 2023, save for the columns that are given."""
    return pa.Table.from_pylist([{**TRIP, **change} for change in changes], DELIVERED)


def between(pickup: str, dropoff: str) -> dict[str, datetime]:
    """Naive local times of a trip, in ISO format."""
    return {
        "lpep_pickup_datetime": datetime.fromisoformat(pickup),
        "lpep_dropoff_datetime": datetime.fromisoformat(dropoff),
    }


def deliver_month(folder: Path, month: str, rows: pa.Table) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"green_tripdata_{month}.parquet"
    pq.write_table(rows, path)
    return path


def deliver_reference(folder: Path) -> None:
    """Zones with the gaps of the real ones, and the weather of two days in March 2023."""
    folder.mkdir(parents=True, exist_ok=True)
    zones = ["56,Queens,Corona", "57,Queens,Corona", "74,Manhattan,East Harlem North", "264,Unknown,NV"]
    (folder / "taxi_zone_lookup.csv").write_text("\n".join(["locationid,borough,zone", *zones]))
    centroids = ["56,193.0,39.0", "56,195.0,40.0", "74,189.5,43.25"]
    (folder / "zone_centroids_derived.csv").write_text("\n".join(["LocationID,x_miles,y_miles", *centroids]))
    days = ["2023-02-28,1,0.00,0.0,0.0,41,33", "2023-03-01,,0.25,0.0,0.0,50,40"]
    (folder / "central_park_weather.csv").write_text("\n".join(["DATE,AWND,PRCP,SNOW,SNWD,TMAX,TMIN", *days]))


def taxi_project(root: Path, source: str = "simulator", path: str = "", **options: Any) -> Run:
    """Six weeks of the synthetic city around the jump to summer time; the clock stands at their end."""
    days = (date(2023, 2, 20), date(2023, 3, 6), date(2023, 3, 13), date(2023, 3, 27), date(2023, 4, 3))
    given = SourceSettings(name=source, path=path or "use_cases/nyc_taxi/simulator.py", options=options)
    settings = Settings(use_case="nyc_taxi", source=given, windows=windows(days))
    return Run(root, settings, as_of(days[-1], TIMEZONE), clock=FixedClock(datetime(2023, 4, 3, 4, tzinfo=UTC)))


def real_months() -> Path | None:
    """The folder of real trip records: TLC_DATA, or beside the checkout; None where there is none."""
    candidates = [Path(os.environ["TLC_DATA"])] if "TLC_DATA" in os.environ else REAL_MONTHS
    return next((path for path in candidates if path.is_dir()), None)
