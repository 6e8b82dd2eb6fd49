"""What a step says of itself: a small JSON report, and how long it took.

The report is a deterministic output of its stage. Seconds are not, so they are kept apart, under state/.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ratchet.project.project import Project
from ratchet.storage.files import read_json, write_json

Report = dict[str, Any]
Step = Callable[[Project], Report]


def run_step(project: Project, name: str, step: Step) -> Report:
    """Run a step, then write reports/…/{name}.json and its seconds. Both drivers, DVC and Prefect, come through here.

    A run that reports what the last one did found nothing to do: the seconds stay those of the run that did it.
    """
    started = time.perf_counter()
    report = step(project)
    if report != read(project, name):
        write_json(project.paths.reports / f"{name}.json", report)
        write_json(project.paths.state / "seconds" / f"{name}.json", round(time.perf_counter() - started, 3))
    return report


def read(project: Project, name: str) -> Report | None:
    """The last report of a step, or None where it has not run."""
    path = project.paths.reports / f"{name}.json"
    return dict(read_json(path)) if path.exists() else None


def seconds(project: Project) -> dict[str, float]:
    """How long each step took when it last ran."""
    return {path.stem: float(read_json(path)) for path in sorted((project.paths.state / "seconds").glob("*.json"))}
