"""CSV files as people have them, from rides with everything to subscribers without any time, and where to begin use cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

PARAMS = """# What decides the results.
use_case: other # of which commands speak
use_cases:
  other: # another use case, with its comments
    source: {name: there, path: somewhere, options: {}}
"""


def checkout(root: Path) -> Path:
    """A folder with a params.yaml, in which use cases can be begun."""
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    return root


def write_csv(path: Path, columns: dict[str, object]) -> Path:
    """Columns as they are, with a line of names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.csv.write_csv(pa.table(columns), path)
    return path


def rides(path: Path, rows: int = 3000) -> Path:
    """120 days of bicycle rides: how many minutes depends on zone, hour and distance. Times are local, of Berlin."""
    rng = np.random.default_rng(5)
    asked = np.sort(rng.integers(0, 120 * 24 * 60, rows)).astype("timedelta64[m]") + np.datetime64("2024-03-01", "m")
    zone, distance = rng.integers(0, 12, rows), rng.gamma(2.0, 2.0, rows).round(2)
    hour = (asked - asked.astype("datetime64[D]")).astype(int) // 60
    minutes = 4 + 0.8 * zone + 3.0 * distance + 4 * ((hour > 15) & (hour < 19)) + rng.gamma(2.0, 1.0, rows)
    ended = asked + np.ceil(minutes).astype("timedelta64[m]")
    return write_csv(
        path,
        {
            "Ride ID": np.arange(rows) + 1000,
            "zone": np.char.add("z", zone.astype(str)),
            "Distance (km)": distance,
            "class": rng.choice(["basic", "plus"], rows),
            "bike": rng.integers(1, 400, rows),
            "asked_at": np.datetime_as_string(asked, unit="s"),
            "ended_at": np.datetime_as_string(ended, unit="s"),
            "fare": (minutes * 0.3).round(2),
            "minutes": minutes.round(2),
        },
    )


def bikes(path: Path, days: int = 90) -> Path:
    """Rentals of each hour, which are those of casual and of registered riders: nobody knows these before the sum."""
    rng, hours = np.random.default_rng(3), np.arange(days * 24)
    warmth = (10 + 5 * np.sin(hours / 900) + rng.normal(0, 3, len(hours))).round(1)
    rate = np.exp(1 + 1.2 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi) + 0.05 * warmth)
    casual = rng.poisson(rate * (0.3 + 0.5 * rng.random(len(hours))))
    registered = rng.poisson(rate * (1.5 + 1.5 * rng.random(len(hours))))
    return write_csv(
        path,
        {
            "instant": hours,
            "at": np.datetime_as_string(np.datetime64("2024-01-01", "h") + hours, unit="s"),
            "warmth": warmth,
            "casual": casual,
            "registered": registered,
            "cnt": casual + registered,
        },
    )


def visits(path: Path, rows: int = 3000) -> Path:
    """A year of appointments in local time: missed or not, which depends on the patient; known after three days."""
    rng = np.random.default_rng(6)
    at = np.sort(rng.integers(0, 365 * 24 * 4, rows)) * np.timedelta64(15, "m") + np.datetime64("2023-01-01", "m")
    patient, lead = rng.integers(0, 80, rows), rng.integers(0, 40, rows)
    log_odds = -2.0 + 3.0 * (patient % 3 == 0) + 0.04 * lead
    return write_csv(
        path,
        {
            "visit": np.char.add("v", np.arange(rows).astype(str)),
            "patient": np.char.add("p", patient.astype(str)),
            "clinic": rng.choice(["north", "south"], rows),
            "lead_days": lead,
            "reminded_at": np.datetime_as_string(at, unit="m"),
            "missed": (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int),
        },
    )


def subscribers(path: Path, rows: int = 3000) -> Path:
    """Who left, at one timestamp: no column is a time."""
    rng = np.random.default_rng(7)
    tenure, contract = rng.integers(0, 72, rows), rng.choice(["month", "year", "two years"], rows)
    log_odds = 1.0 - 0.06 * tenure - 1.5 * (contract == "two years")
    charges = rng.gamma(3.0, 20.0, rows).round(2)
    return write_csv(
        path,
        {
            "customerID": np.char.add("c", np.arange(rows).astype(str)),
            "Senior": rng.integers(0, 2, rows),
            "tenure": tenure,
            "Contract": contract,
            "MonthlyCharges": np.where(rng.random(rows) < 0.02, np.nan, charges),
            "Churn": np.where(rng.random(rows) < 1 / (1 + np.exp(-log_odds)), "Yes", "No"),
        },
    )


def wide(path: Path, rows: int = 600) -> Path:
    """Sixty columns of numbers and text, some with gaps, and no time."""
    rng = np.random.default_rng(8)
    numbers = {f"measured {place}": rng.normal(place % 2 * 9, 1, rows).round(2) for place in range(40)}
    gaps = {f"lab {place}": np.where(rng.random(rows) < 0.1, np.nan, rng.random(rows)) for place in range(10)}
    texts = {f"Code {place}": rng.choice(["a", 'b"', "c'"], rows) for place in range(10)}
    label = (2 * numbers["measured 3"] + rng.normal(size=rows)).round(2)
    return write_csv(path, {"id": np.arange(rows), **numbers, **gaps, **texts, "y": label})


def odd(path: Path, rows: int = 600) -> Path:
    """Columns that are called like keywords, types, imports and what the pipelines and the calendar add."""
    rng = np.random.default_rng(9)
    time = np.datetime64("2024-01-01") + np.arange(rows) // 4
    return write_csv(
        path,
        {
            "Nr.": np.arange(rows),
            "from": np.datetime_as_string(time),
            "class": rng.choice(["a", "b", "c"], rows),
            "int": rng.integers(-9, 99, rows),
            "weekday": rng.choice(["mon", "tue"], rows),
            "calendar": rng.normal(size=rows),
            "label": rng.normal(size=rows),
            "count": rng.random(rows) < 0.5,
            "request": rng.integers(0, 5, rows),
            "minutes": rng.normal(size=rows).round(3),
        },
    )


def survey(path: Path, rows: int = 900) -> Path:
    """A dozen answers in codes, and longer names than a line can take."""
    rng = np.random.default_rng(10)
    asked = np.datetime64("2024-01-01", "h") + np.arange(rows) * 3
    times = {"asked": asked, "answered": asked + rng.integers(1, 40, rows)}
    who = {"customer_number": rng.integers(0, 60, rows)}
    codes = {f"question {place}": rng.integers(1, 6, rows) for place in range(12)}
    label = (rng.normal(size=rows) / 10**6).round(9)
    instants = {f"{name}_{'x' * 20}": np.datetime_as_string(values, unit="s") for name, values in times.items()}
    return write_csv(path, {"id": np.arange(rows), **instants, **who, **codes, "satisfaction_on_a_scale": label})


def machines(path: Path, *, rows: int = 4000, effect: float = 10.0) -> Path:
    """120 machines by number, which differ by `effect` in what they make; nothing else matters."""
    rng = np.random.default_rng(11)
    asked = np.datetime64("2024-01-01", "m") + np.sort(rng.integers(0, 150 * 24 * 60, rows))
    machine = rng.integers(0, 120, rows)
    return write_csv(
        path,
        {
            "id": np.arange(rows),
            "asked_at": np.datetime_as_string(asked),
            "done_at": np.datetime_as_string(asked + 90),
            "machine": machine,
            "shift": rng.choice(["early", "late"], rows),
            "made": (effect * rng.normal(size=120)[machine] + rng.normal(0, 2, rows)).round(2),
        },
    )


def rides_with(path: Path, column: str, cells: Mapping[int, str]) -> Path:
    """Rides of which one column has these texts, by row."""
    rows = pyarrow.csv.read_csv(
        rides(path), convert_options=pyarrow.csv.ConvertOptions(column_types={column: pa.string()})
    )
    texts = [cells.get(row, text) for row, text in enumerate(rows[column].to_pylist())]
    return write_csv(path, {**rows.to_pydict(), column: texts})
