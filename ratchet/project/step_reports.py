"""The reports of steps: a small JSON file for each, and how long it took.

A report is a deterministic output of its stage. The seconds and the time of a run are not, so they are kept separately, under
state/.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pydantic import AwareDatetime, Field

from ratchet.core.frozen import Frozen
from ratchet.core.text import spans
from ratchet.project.as_of import AsOf
from ratchet.project.run import Run
from ratchet.storage.files import read_json, write_json
from ratchet.storage.partitions import changed_tables

Report = dict[str, Any]
Step = Callable[[Run], Report]


class LastRun(Frozen):
    """When a step ended, how long it took, and where the pipelines stood then.

    `computed` and `removed` are the units (batches, UTC dates) of each table that the run computed again or removed, with
    consecutive dates as `2024-05-01 to 2024-05-03`.
    """

    at: AwareDatetime
    seconds: float
    instants: AsOf | None
    computed: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    removed: dict[str, tuple[str, ...]] = Field(default_factory=dict)


def run_step(run: Run, name: str, step: Step) -> Report:
    """Run a step, then write reports/…/{name}.json and its seconds. Both drivers, DVC and Prefect, call this function.

    If the report equals the last one, the step found nothing to do, and the seconds of the earlier run are kept. When it ran,
    as of when, and what it changed is kept in any case.
    """
    started = time.perf_counter()
    with changed_tables() as changes:
        report = step(run)
    took = round(time.perf_counter() - started, 3)
    last = LastRun(
        at=run.clock.now(),
        seconds=took,
        instants=run.instants,
        computed={table: tuple(spans(of.computed)) for table, of in changes.items() if of.computed},
        removed={table: tuple(spans(of.removed)) for table, of in changes.items() if of.removed},
    )
    write_json(run.paths.state / "last_run" / f"{name}.json", last.model_dump(mode="json"))
    if report != read(run, name):
        write_json(run.paths.reports / f"{name}.json", report)
        write_json(run.paths.state / "seconds" / f"{name}.json", took)
    return report


def read(run: Run, name: str) -> Report | None:
    """The last report of a step, or None if it has not run."""
    path = run.paths.reports / f"{name}.json"
    return dict(read_json(path)) if path.exists() else None


def last_run(run: Run, name: str) -> LastRun | None:
    """When a step ended last; None if it has not run in this checkout."""
    path = run.paths.state / "last_run" / f"{name}.json"
    return LastRun.model_validate(read_json(path)) if path.exists() else None


def seconds(run: Run) -> dict[str, float]:
    """Step → the seconds that it took when it last did something."""
    return {path.stem: float(read_json(path)) for path in sorted((run.paths.state / "seconds").glob("*.json"))}
