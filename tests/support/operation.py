"""A scripted time of operation: what a source delivers day after day, with all that goes wrong in practice.

The real months come one by one, then corrections, a month with another name, a file cut short, and a column that vanished. The
simulated city has everything switched on that may go wrong with a delivery. After each event, the pipelines run as of its day.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from ratchet.core.clock import local_midnight
from ratchet.project.advance import move
from ratchet.project.run import PIPELINES, Run
from tests.support.checkout import commit, plain_checkout

TIMEZONE = "America/New_York"


@dataclass(frozen=True)
class Event:
    """Something that happens before the pipelines run as of a local day. If it happens again, nothing changes."""

    what: str
    day: date
    happen: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Operation:
    """A folder for a checkout, the settings of its use case, and what happens in turn."""

    checkout: Path
    settings: Mapping[str, Any]
    events: Sequence[Event]

    def begin(self, trees: int) -> None:
        """Make and commit the checkout; a model has this many trees."""
        path = plain_checkout(self.checkout) / "params.yaml"
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        taxi = {**params["use_cases"]["nyc_taxi"], **self.settings}
        taxi["training"]["lightgbm"]["n_estimators"] = trees
        path.write_text(yaml.safe_dump({**params, "use_cases": {"nyc_taxi": taxi}}, sort_keys=False), encoding="utf-8")
        (self.checkout / "as_of.yaml").unlink()
        commit(self.checkout, "Begin")

    def after(self, event: Event) -> Run:
        """Let the event happen; the run that follows it."""
        event.happen()
        run = Run.load(self.checkout, "nyc_taxi")
        return move(run, local_midnight(event.day, TIMEZONE), PIPELINES, back=False)


def real_months(checkout: Path, months: Path) -> Operation:
    """Half a year of a folder of TLC months, delivered one by one, and then four days on which something goes wrong."""
    folder = checkout / "data" / "delivered" / "months"

    def bring(month: str, change: Callable[[pa.Table], pa.Table] = lambda rows: rows, name: str = "") -> Path:
        path, rows = folder / f"green_tripdata_{name or month}.parquet", pq.read_table(_file(months, month))
        pq.write_table(change(rows), path)
        return path

    def first() -> None:
        shutil.copytree(months.parent / "ref", folder.parent / "ref", dirs_exist_ok=True)
        folder.mkdir(exist_ok=True)
        bring("2023-01")
        bring("2023-02")

    def cut_short() -> None:
        path = bring("2023-06")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def without_passengers() -> None:
        bring("2023-06", lambda rows: rows.drop_columns(["passenger_count"]))

    def month(number: int) -> Event:
        name = f"2023-{number:02}"
        return Event(f"{name} is delivered", date(2023, number + 1, 1), lambda: bring(name))

    events = [
        Event("January and February are delivered", date(2023, 3, 1), first),
        *map(month, (3, 4, 5, 6)),
        Event(
            "April again: 5% of fares corrected, 500 trips gone", date(2023, 7, 2), lambda: bring("2023-04", corrected)
        ),
        Event("May again, as 2023-05_v2", date(2023, 7, 3), lambda: bring("2023-05", name="2023-05_v2")),
        Event("June again, cut short", date(2023, 7, 4), cut_short),
        Event("June again, without passenger_count", date(2023, 7, 5), without_passengers),
        Event("June again, whole", date(2023, 7, 6), lambda: bring("2023-06")),
    ]
    source = {"name": "tlc", "path": "data/delivered/months", "history": False}
    return Operation(checkout, {"source": source, "windows": _WINDOWS}, events)


def simulated_year(checkout: Path, trips_per_day: int | None = None) -> Operation:
    """The simulated city at the end of each month of a year."""
    options: dict[str, Any] = {
        "late": {"share": 0.01, "after": "3d"},
        "corrections": {"share": 0.005, "after": "10d"},
        "duplicates": {"share": 0.005, "after": "1d"},
        "closed_zone": {"zone": 20, "first": "2023-06-01", "until": "2023-07-01"},
        "outage": {"first": "2023-08-30", "until": "2023-09-02", "delivered": "2023-09-20"},
        "schema_change": {"kind": "retyped", "first": "2023-11-01"},
    }
    options |= {"trips_per_day": trips_per_day} if trips_per_day else {}
    source = {"name": "simulator", "path": "use_cases/nyc_taxi/simulator.py", "history": False, "options": options}
    ends = [date(2023, month, 1) for month in range(3, 13)] + [date(2024, 1, 1)]
    events = [Event(f"the data go up to {end}", end) for end in ends]
    return Operation(checkout, {"source": source, "windows": _WINDOWS}, events)


def corrected(rows: pa.Table) -> pa.Table:
    """Every twentieth fare is a dollar more, and the last 500 trips are gone."""
    more = pa.array(np.arange(rows.num_rows) % 20 == 0)
    fares = pc.if_else(more, pc.add(rows["total_amount"], 1.0), rows["total_amount"])
    return rows.set_column(rows.column_names.index("total_amount"), "total_amount", fares).slice(0, rows.num_rows - 500)


_WINDOWS = {"start": "2023-01-01", "early_stopping": "7d", "holdout": "14d", "fresh": "7d"}


def _file(months: Path, month: str) -> Path:
    return months / f"green_tripdata_{month}.parquet"
