"""What a step says of itself: a small JSON report, and how long it took.

The report is a deterministic output of its stage. Seconds are not, so they are kept apart, under state/.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ratchet.project.run import Run
from ratchet.storage.files import read_json, write_json

Report = dict[str, Any]
Step = Callable[[Run], Report]


def run_step(run: Run, name: str, step: Step) -> Report:
    """Run a step, then write reports/…/{name}.json and its seconds. Both drivers, DVC and Prefect, come through here.

    A run that reports what the last one did found nothing to do: the seconds stay those of the run that did it.
    """
    started = time.perf_counter()
    report = step(run)
    if report != read(run, name):
        write_json(run.paths.reports / f"{name}.json", report)
        write_json(run.paths.state / "seconds" / f"{name}.json", round(time.perf_counter() - started, 3))
    return report


def read(run: Run, name: str) -> Report | None:
    """The last report of a step, or None where it has not run."""
    path = run.paths.reports / f"{name}.json"
    return dict(read_json(path)) if path.exists() else None


def seconds(run: Run) -> dict[str, float]:
    """How long each step took when it last ran."""
    return {path.stem: float(read_json(path)) for path in sorted((run.paths.state / "seconds").glob("*.json"))}
