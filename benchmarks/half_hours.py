"""How does the cost of the feature pipeline grow with the days of a table? `python -m benchmarks.half_hours`.

Run it in a clean checkout. It runs `ratchet init` and the first three steps on a table with a row for every half-hour, in a
clone of this checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

DAYS = (137, 274, 548, 1096)
STEPS = ("ingest", "validate", "featurize")
INIT = (
    "--label",
    "kwh",
    "--time",
    "at",
    "--known-at",
    "measured_at",
    "--entity",
    "site",
    "--timezone",
    "Europe/Lisbon",
)


def write(path: Path, days: int) -> None:
    """Write half-hours of two sites, each with its temperature and its consumption, which is measured at its end."""
    rng, rows = np.random.default_rng(1), days * 48
    at = np.datetime64("2022-01-01T00:00") + 30 * np.arange(rows).astype("timedelta64[m]")
    temperature = 10 + 8 * np.sin(2 * np.pi * np.arange(rows) / 48 / 365) + rng.normal(0, 2, rows)
    daily = 20 * np.sin(2 * np.pi * (np.arange(rows) % 48 - 16) / 48)
    columns = {
        "at": at,
        "site": np.where(rng.random(rows) < 0.5, "a", "b"),
        "temperature": temperature.round(1),
        "kwh": (50 + daily - temperature + rng.normal(0, 3, rows)).round(1),
        "measured_at": at + np.timedelta64(30, "m"),
    }
    pd.DataFrame(columns).to_csv(path, index=False)


def seconds(checkout: Path, *arguments: str) -> float:
    """The CPU seconds of a command. Its wall time would depend on the disk."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "cli", *arguments], cwd=checkout, capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measure(days: int, folder: Path) -> list[float]:
    subprocess.run(["git", "clone", "--quiet", Path.cwd(), folder], check=True)  # noqa: S607 - found on PATH
    write(folder / "kwh.csv", days)
    seconds(folder, "init", "kwh", "--csv", "kwh.csv", *INIT)
    return [seconds(folder, "stage", step) for step in STEPS]


if __name__ == "__main__":
    sys.stdout.write(f"{'days':>6} {'rows':>7} {'files':>6} {''.join(f'{step:>11}' for step in STEPS)}\n")
    for days in DAYS:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(days, Path(folder) / "checkout")
            files = len(list(Path(folder).rglob("checkout/data/**/*.parquet")))
        sys.stdout.write(f"{days:6} {days * 48:7} {files:6} {''.join(f'{one:11.1f}' for one in found)}\n")
