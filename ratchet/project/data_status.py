"""How far the data of a use case go, when each pipeline ran last, and what is due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ratchet.core.clock import TICK, Period, local_midnight
from ratchet.core.errors import RatchetError
from ratchet.core.schedule import latest_tick
from ratchet.core.text import format_duration, minute
from ratchet.feature_store.freshness import read_freshness
from ratchet.feature_store.written_store import problem_now
from ratchet.prediction_log.scored_time import unscored
from ratchet.project.as_of import as_text
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
    yield from (_fill(run, hole) for hole in unscored(run))


def _rejected(run: Run) -> Iterator[tuple[str, str]]:
    """The batches that ingest could not read, each with why and what to do."""
    rejected = (read(run, "ingest") or {}).get("rejected", {})
    yield from ((f"{table}/{name}", why) for table, batches in rejected.items() for name, why in batches.items())


def _fill(run: Run, hole: Period) -> str:
    """The commands that score the requests of a hole: as of each day that ends in it, and then as of the present again.

    A model scores no request from before the end of its training rows, so the one that scored last may be of no use.
    """
    name, present = run.settings.use_case, run.as_of("feature")
    first, last = (min(end, present) for end in (_day_end(run, hole.start), _day_end(run, hole.end - TICK)))
    report = read(run, "predict") or {}
    is_late = hole.start < datetime.fromisoformat(report.get("trained_until", hole.start.isoformat()))
    return (
        f"inference: no run scored the requests from {minute(hole.start)} to {minute(hole.end)}: "
        f"{_other_model(name, report['model_version']) if is_late else ''}"
        f"`ratchet advance {name} --back --to {_when(run, first)} --pipeline inference`, "
        f"`ratchet backfill {name} --from {_when(run, first)} --to {_when(run, last)} --pipeline inference`, "
        f"`ratchet advance {name} --to {_when(run, present)} --pipeline inference`, then `dvc repro monitor@{name}`"
    )


def _other_model(name: str, version: int) -> str:
    return (
        f"version {version} was trained until later, so `ratchet --use-case {name} rollback --reason 'an older one scores'` "
        f"first, and `ratchet --use-case {name} promote {version}` at the end; "
    )


def _day_end(run: Run, instant: datetime) -> datetime:
    """The end of the local day of an instant."""
    timezone = run.use_case.timezone
    return local_midnight(instant.astimezone(ZoneInfo(timezone)).date() + timedelta(days=1), timezone)


def _when(run: Run, instant: datetime) -> str:
    """An instant as commands take it: as the local day that begins then, if one does."""
    day = instant.astimezone(ZoneInfo(run.use_case.timezone)).date()
    return day.isoformat() if local_midnight(day, run.use_case.timezone) == instant else as_text(instant)


def _missed(run: Run) -> Iterator[str]:
    """Pipelines whose schedule asked for a later instant than the present one."""
    for pipeline in PIPELINES:
        scheduled = latest_tick(getattr(run.settings.schedules, pipeline), run.clock.now())
        if pipeline != "feature":
            scheduled = latest_tick(run.settings.schedules.feature, scheduled)
        if scheduled > run.as_of(pipeline):
            advance = f"`ratchet advance {run.settings.use_case}`"
            yield f"{pipeline}: scheduled as of {scheduled.isoformat()}: start its flow, or {advance}"
