"""How does the cost of the feature pipeline grow with the batches of a table? `python -m benchmarks.many_batches`.

Run it in a clean checkout. It runs `ratchet init` and the first two steps on the rows of `benchmarks.half_hours`, in a file for
each day.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.half_hours import INIT, seconds, write

BATCHES = (150, 300, 600)
STEPS = ("ingest", "validate")


def measure(batches: int, folder: Path) -> list[float]:
    subprocess.run(["git", "clone", "--quiet", Path.cwd(), folder], check=True)  # noqa: S607 - found on PATH
    write(folder / "kwh.csv", batches)
    seconds(folder, "init", "kwh", "--csv", "kwh.csv", *INIT)
    (folder / "batches").mkdir()
    for day, rows in pd.read_csv(folder / "kwh.csv").groupby(lambda row: row // 48):
        rows.to_csv(folder / "batches" / f"{day:04}.csv", index=False)
    params = folder / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("path: kwh.csv", "path: batches"), encoding="utf-8")
    return [seconds(folder, "stage", step) for step in STEPS]


if __name__ == "__main__":
    sys.stdout.write(f"{'batches':>7} {''.join(f'{step:>11}' for step in STEPS)}\n")
    for batches in BATCHES:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(batches, Path(folder) / "checkout")
        sys.stdout.write(f"{batches:7} {''.join(f'{one:11.1f}' for one in found)}\n")
