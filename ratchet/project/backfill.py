"""Run pipelines as of each instant of a past interval, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from ratchet.code.git import LOCK_FILE
from ratchet.core.clock import later
from ratchet.core.errors import SettingsError, VersionError
from ratchet.project.advance import move, require_past
from ratchet.project.as_of import as_text, read_as_of
from ratchet.project.dvc import commit_stages
from ratchet.project.inputs import inputs
from ratchet.project.locks import WAIT, alone
from ratchet.project.run import PIPELINES, Pipeline, Run
from ratchet.project.step_reports import run_step
from ratchet.project.steps import STEPS, Step


def remaining(
    run: Run, first: datetime, last: datetime, step: timedelta, pipelines: Sequence[Pipeline] = PIPELINES
) -> list[datetime]:
    """The instants from `first` to `last` that are not behind the present one of the pipelines, which a killed backfill may not
    have finished.

    Raises SettingsError if `last` is in the future, if no instant is left, or if one of the pipelines is behind the others, so
    that it would miss instants.
    """
    require_past(run, last)
    found, instant = [], first
    while instant <= last:
        found.append(instant)
        instant = later(instant, step, run.use_case.timezone)
    present = max(run.as_of(pipeline) for pipeline in pipelines) if run.instants else first
    behind = {pipeline for pipeline in pipelines if run.instants and run.as_of(pipeline) < present}
    if any(run.as_of(pipeline) < instant < present for pipeline in behind for instant in found):
        raise SettingsError(
            f"{', '.join(sorted(behind))} is behind {as_text(present)}, up to which other pipelines have come",
            subject=run.settings.use_case,
            remedy="Backfill it alone first, with --pipeline, or bring all to one instant by `ratchet advance`",
        )
    left = [instant for instant in found if instant >= present]
    if not left:
        only = "".join(f" --pipeline {pipeline}" for pipeline in pipelines if {*pipelines} != {*PIPELINES})
        raise SettingsError(
            f"is as of {as_text(present)}, and nothing is left up to {as_text(last)}",
            subject=run.settings.use_case,
            remedy=f"Name a later instant, or go back first: `ratchet advance --back --to …{only}`",
        )
    return left


def backfill(run: Run, instants: Sequence[datetime], pipelines: Sequence[Pipeline] = PIPELINES) -> Iterator[datetime]:
    """Run every step of the pipelines as of each instant and record it in DVC; yields each instant when that is done.

    No other run of the use case's pipelines goes on meanwhile. It may be killed: the same call then goes on with the instant at
    which it was. Raises VersionError if another run does not end, or if code or settings are edited meanwhile.
    """
    steps = [step for step in STEPS.values() if {*step.pipelines} & {*pipelines}]
    for instant in instants:
        _run_as_of(run, instant, pipelines, steps)
        yield instant


def _require_not_overtaken(run: Run, instant: datetime, pipelines: Sequence[Pipeline]) -> None:
    """Raises VersionError if another run has moved the pipelines further meanwhile."""
    present = read_as_of(run.root, run.settings.use_case)
    latest = max((getattr(present, pipeline) for pipeline in pipelines), default=instant) if present else instant
    if latest > instant:
        raise VersionError(
            f"another run has gone on to {as_text(latest)} meanwhile, and this one was at {as_text(instant)}",
            subject=run.settings.use_case,
            remedy="Run the same command again once that run has ended: it goes on from there",
        )


def _run_as_of(run: Run, instant: datetime, pipelines: Sequence[Pipeline], steps: Sequence[Step]) -> None:
    stages = [f"{step.name}@{run.settings.use_case}" for step in steps]
    began = inputs(run, stages)
    with alone(run, PIPELINES, WAIT):
        _require_not_overtaken(run, instant, pipelines)
        moved = move(run, instant, pipelines, back=False)
        for step in steps:
            run_step(moved, step.name, step.load())
        kept = run.paths.state / "runs" / "backfill" / as_text(instant).replace(":", "") / LOCK_FILE
        commit_stages(moved, stages, kept, began)
