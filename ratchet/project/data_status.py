"""How far the data of a use case go, when each pipeline ran last, and what is due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ratchet.core.errors import RatchetError
from ratchet.core.schedule import latest_tick
from ratchet.core.text import format_duration
from ratchet.feature_store.freshness import read_freshness
from ratchet.feature_store.written_store import problem_now
from ratchet.project.run import PIPELINES, Pipeline, Run
from ratchet.project.step_reports import last_run, read
from ratchet.project.steps import steps_of
from ratchet.sources.newest import declared_newest


def data_status(run: Run) -> dict[str, Any]:
    """For each pipeline its instant and its last run; the newest instant of the source, how far the features are behind it, a
    line for everything that is due, how old each view is in the online store, and why that must not be used.

    `newest` is None if only the rows themselves would say it, and a text if the source cannot be asked.
    """
    newest = _newest(run)
    return {
        "pipelines": {pipeline: _pipeline(run, pipeline) for pipeline in PIPELINES},
        "newest": newest.isoformat() if isinstance(newest, datetime) else newest,
        "lag": _lag(run, newest),
        "due": [*_due(run, newest)],
        "freshness": _freshness(run),
        "online_store": problem_now(run) if run.paths.materialized_file.exists() else "",
    }


def _freshness(run: Run) -> dict[str, Any]:
    """View → its freshness: now, or as of the features' instant for a source that holds the past."""
    is_past = run.settings.source.history and run.instants is not None
    at = run.as_of("feature") if is_past else run.clock.now()
    return {view: found.as_of(at) for view, found in read_freshness(run.paths.materialized_file).items()}


def _newest(run: Run) -> datetime | str | None:
    try:
        return declared_newest(run)
    except RatchetError as error:
        return str(error)


def _pipeline(run: Run, pipeline: Pipeline) -> dict[str, Any]:
    """The instant of a pipeline, and when its last step ended, as of when."""
    ended = [found for step in steps_of(pipeline) if (found := last_run(run, step.name))]
    last = max(ended, key=lambda each: each.at, default=None)
    instants = last.instants if last else None
    return {
        "as_of": run.as_of(pipeline).isoformat() if run.instants else None,
        "last_run": last.at.isoformat(timespec="seconds") if last else None,
        "last_as_of": getattr(instants, pipeline).isoformat() if instants else None,
    }


def _lag(run: Run, newest: datetime | str | None) -> str | None:
    if not isinstance(newest, datetime) or run.instants is None:
        return None
    behind = newest - run.instants.feature
    return format_duration(behind) if behind > timedelta(0) else "no time"


def _due(run: Run, newest: datetime | str | None) -> Iterator[str]:
    """What a schedule or newer data ask for, with the command that does it."""
    name = run.settings.use_case
    if run.instants is None:
        yield f"nothing was computed yet: `ratchet advance {name}`"
        return
    repro = f"`dvc repro monitor@{name}`"
    for pipeline in PIPELINES:
        last = last_run(run, steps_of(pipeline)[-1].name)
        if last is None or last.instants is None or getattr(last.instants, pipeline) < run.as_of(pipeline):
            yield f"{pipeline}: not run here as of {run.as_of(pipeline).isoformat()}: {repro}"
    if isinstance(newest, datetime) and newest > run.instants.feature and run.settings.source.history:
        yield f"the source is complete up to {newest.isoformat()}: `ratchet advance {name}`, then {repro}"
    yield from (f"batch {batch} was rejected: {why}" for batch, why in _rejected(run))
    yield from () if run.settings.source.history else _missed(run)


def _rejected(run: Run) -> Iterator[tuple[str, str]]:
    """The batches that ingest could not read, each with why and what to do."""
    rejected = (read(run, "ingest") or {}).get("rejected", {})
    yield from ((f"{table}/{name}", why) for table, batches in rejected.items() for name, why in batches.items())


def _missed(run: Run) -> Iterator[str]:
    """Pipelines whose schedule asked for a later instant than the present one."""
    for pipeline in PIPELINES:
        scheduled = latest_tick(getattr(run.settings.schedules, pipeline), run.clock.now())
        if pipeline != "feature":
            scheduled = latest_tick(run.settings.schedules.feature, scheduled)
        if scheduled > run.as_of(pipeline):
            advance = f"`ratchet advance {run.settings.use_case}`"
            yield f"{pipeline}: scheduled as of {scheduled.isoformat()}: start its flow, or {advance}"
