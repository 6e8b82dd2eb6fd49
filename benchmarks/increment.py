"""What one more day costs on histories of different lengths: `python -m benchmarks.increment [MONTHS …]` (default: 1 3 12).

For each length, a checkout of the simulated city in a temporary folder computes the history up to a day, and then that day: the
feature pipeline, scoring and monitoring, each step in a process, and what DVC adds. Model and windows are the same for every
length. The table has CPU seconds, with those of child processes, and what was written to data/ and state/.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.support.checkout import commit, environment, plain_checkout

END = datetime(2023, 12, 15, 5, tzinfo=UTC)
"""A local midnight in New York: the instant of the history."""
STEPS = ("ingest", "validate", "featurize", "materialize", "predict", "monitor")
TRIPS = 2000
"""Trips a day."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds, files written, and bytes written."""

    seconds: float
    files: int = 0
    written: int = 0

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} {self.files:5d} {self.written / 1e6:7.2f}"


def main(months: Sequence[int]) -> None:
    costs = {length: _increment(length) for length in months}
    names = [*costs[months[0]]]
    sys.stdout.write("CPU s, files, MB".ljust(14) + "".join(f"{length:>14d} months" for length in months) + "\n")
    for name in names:
        sys.stdout.write(name.ljust(14) + "".join(f"{costs[length][name]!s:>21}" for length in months) + "\n")


def _increment(months: int) -> dict[str, Cost]:
    """Step → what the day cost on a history of so many months."""
    with tempfile.TemporaryDirectory() as name:
        checkout = plain_checkout(Path(name))
        _settle(checkout, months)
        commit(checkout, "Begin")
        _run(checkout, "advance", "--to", END.isoformat())
        _dvc(checkout, "repro", "monitor@nyc_taxi")
        _run(
            checkout,
            "advance",
            "--to",
            (END + timedelta(days=1)).isoformat(),
            "--pipeline",
            "feature",
            "--pipeline",
            "inference",
        )
        costs = {"sensors": _measured(checkout, lambda: _run(checkout, "sensors"))}
        for step in STEPS:
            costs[step] = _measured(checkout, lambda step=step: _run(checkout, "stage", step))
        costs["dvc commit"] = _measured(
            checkout, lambda: _dvc(checkout, "commit", "--force", *(f"{step}@nyc_taxi" for step in STEPS))
        )
        costs["dvc repro"] = _measured(checkout, lambda: _dvc(checkout, "repro", "monitor@nyc_taxi"))
        return {
            **costs,
            "all": Cost(
                *(
                    sum(values)
                    for values in zip(*((c.seconds, c.files, c.written) for c in costs.values()), strict=True)
                )
            ),
        }


def _settle(checkout: Path, months: int) -> None:
    """Windows that end alike for every length, few trees, and one use case."""
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    section = params["use_cases"]["nyc_taxi"]
    section["source"]["options"] = {"trips_per_day": TRIPS}
    section["windows"] |= {"start": (END - timedelta(days=30 * months)).date().isoformat(), "training": "16d"}
    section["windows"] |= {"early_stopping": "3d", "holdout": "7d", "fresh": "7d"}
    section["training"]["lightgbm"]["n_estimators"] = 50
    params["use_cases"] = {"nyc_taxi": section}
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    (checkout / "as_of.yaml").unlink(missing_ok=True)


def _measured(checkout: Path, work: object) -> Cost:
    before, used = _files(checkout), resource.getrusage(resource.RUSAGE_CHILDREN)
    assert callable(work)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    written = {path: size for path, (size, changed) in _files(checkout).items() if before.get(path) != (size, changed)}
    seconds = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return Cost(seconds, len(written), sum(written.values()))


def _files(checkout: Path) -> dict[Path, tuple[int, int]]:
    found = (path for folder in ("data", "state") for path in (checkout / folder).rglob("*") if path.is_file())
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def _run(checkout: Path, *arguments: str) -> None:
    _command(checkout, "cli", "--use-case", "nyc_taxi", *arguments)


def _dvc(checkout: Path, *arguments: str) -> None:
    _command(checkout, "dvc", *arguments)


def _command(checkout: Path, module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=checkout, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main([int(length) for length in sys.argv[1:]] or [1, 3, 12])
