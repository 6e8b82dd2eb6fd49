"""Run a pipeline's steps as the tasks of a flow, and record the data that the flow wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run

from flows.as_of import default_instant
from flows.progress import progress_artifact
from ratchet.code.git import LOCK_FILE, code_version
from ratchet.core.errors import RatchetError, UnavailableError
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.project.advance import move, parse_instant, parse_length, require_past
from ratchet.project.backfill import remaining
from ratchet.project.dvc import commit_stages
from ratchet.project.headlines import HEADLINES
from ratchet.project.inputs import Inputs, inputs
from ratchet.project.locks import alone
from ratchet.project.run import Pipeline, Run
from ratchet.project.step_reports import Report, last_run, run_step
from ratchet.project.steps import Step, steps_of

_TIMEOUT = 3600.0
_PAUSES = [10.0, 60.0]
_TASK: dict[str, Any] = {
    "retries": len(_PAUSES),
    "retry_delay_seconds": _PAUSES,
    "timeout_seconds": _TIMEOUT,
    "persist_result": False,
    "cache_policy": NO_CACHE,
}


def run_name() -> str:
    """The flow, its use case and its scheduled time in UTC, until the run knows as of when it works: then that is its name."""
    use_case = flow_run.parameters.get("use_case") or Run.load().settings.use_case
    return f"{flow_run.flow_name}-{use_case}-{flow_run.scheduled_start_time.astimezone(UTC):%Y-%m-%dT%H:%M}"


def _may_pass(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry unexpected errors, and those that may pass by themselves; any other one says what a person has to do."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, UnavailableError) or not isinstance(error, RatchetError)


def run_pipeline(
    pipeline: Pipeline, use_case: str | None, as_of: str | None, since: str | None = None, step: str = "1d"
) -> None:
    """Run every step of a pipeline for the named use case, or for the one that params.yaml selects when the flow begins.

    `as_of` is a local day or a time with its offset; by default it follows from the scheduled start. A feature run never goes
    back: if later features were computed already, those of this instant are among them. With `since`, the run works through the
    instants from then to `as_of`, each a `step` after the other; if it is repeated, it goes on with the one at which it was.

    Other runs of this pipeline wait until this run has ended. Runs of another pipeline wait while a step keeps them out. The
    outputs are recorded as made from the settings and the code at the beginning of the run, or not at all.
    """
    run, steps = Run.load(use_case=use_case), steps_of(pipeline)
    name = run.settings.use_case
    began = inputs(run, _stages(steps, name))
    _say_what_code_runs(run)
    with alone(run, [pipeline], _TIMEOUT) as run:
        for instant in instants_of(run, pipeline, as_of, since, step):
            _move(run, pipeline, instant)
            if pipeline != "feature":
                await_features(pipeline, name)
            for together in recorded_together(pipeline, steps):
                _run_together(run, pipeline, together, began)


def _run_together(run: Run, pipeline: Pipeline, together: Sequence[Step], began: Inputs) -> None:
    """Run steps, and record their outputs, while the pipelines that they keep out wait."""
    others, name = {other for step in together for other in step.keeps_out} - {pipeline}, run.settings.use_case
    with alone(run, others, _TIMEOUT):
        for step in together:
            task_of(step)(name)
        keep_version(pipeline, name, _stages(together, name), began)


def instants_of(run: Run, pipeline: Pipeline, as_of: str | None, since: str | None, step: str) -> list[datetime]:
    """The instants as of which the pipeline runs, in order. Raises SettingsError."""
    last = _instant(run, pipeline, as_of)
    if since is None:
        return [last]
    return remaining(run, parse_instant(since, run.use_case.timezone), last, parse_length(step), [pipeline])


def _instant(run: Run, pipeline: Pipeline, as_of: str | None) -> datetime:
    if as_of is not None:
        instant = parse_instant(as_of, run.use_case.timezone)
        require_past(run, instant)
        return instant
    return default_instant(run, pipeline, flow_run.scheduled_start_time)


def _move(run: Run, pipeline: Pipeline, instant: datetime) -> None:
    """Let the pipeline stand at the instant, and name the run after it."""
    name = f"{pipeline}-{run.settings.use_case}-{instant.astimezone(UTC):%Y-%m-%dT%H:%M}"
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.id), name=name)
    present = run.instants.feature if run.instants else None
    if pipeline == "feature" and present and present >= instant:
        get_run_logger().info("Features go up to %s already, and %s is part of that.", present, instant)
    else:
        move(run, instant, [pipeline], back=True, wait=_TIMEOUT)


def recorded_together(pipeline: Pipeline, steps: Sequence[Step]) -> list[list[Step]]:
    """The steps in order, in groups that are recorded together.

    A step that keeps another pipeline out ends its group: it is recorded at once, so that the other pipeline can continue.
    """
    groups: list[list[Step]] = [[]]
    for step in steps:
        groups[-1].append(step)
        if {*step.keeps_out} - {pipeline}:
            groups.append([])
    return [group for group in groups if group]


def _stages(steps: Sequence[Step], use_case: str) -> list[str]:
    return [f"{step.name}@{use_case}" for step in steps]


def _say_what_code_runs(run: Run) -> None:
    code = code_version(run.root)
    if code.dirty:
        get_run_logger().warning(
            "This run is not of a clean commit (%s, with uncommitted changes): no policy will promote a model that it trains.",
            code.commit or "none",
        )


def task_of(step: Step) -> Task[[str], None]:
    """The task that runs a step of a use case in the current checkout, logs its headline, and shows its report in Prefect's UI.

    Steps exchange data through the stores only, not through Prefect, so nothing is pickled.
    """

    @task(
        name=step.name,
        task_run_name=f"{step.name}-{{use_case}}",
        retry_condition_fn=_may_pass,
        **_TASK,
    )
    def run_one(use_case: str) -> None:
        run = Run.load(use_case=use_case)
        with progress_artifact(step.name):
            report = run_step(run, step.name, lambda run: step.load()(run))
        get_run_logger().info("%s", HEADLINES[step.name](report))
        last = last_run(run, step.name)
        changes = {"computed": last.computed, "removed": last.removed} if last else {}
        rows = [{"what": what, "value": value} for what, value in _flat({**report, "this_run": changes})]
        create_table_artifact(rows, key=_key(run, step.name), description=f"{run.scope.namespace}: {step.name}")

    return run_one


def _flat(report: Report, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values of a report. A list is JSON, but a list of named items, such as checks, has an entry per name."""
    for name, value in report.items():
        if isinstance(value, Mapping):
            yield from _flat(dict(value), f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
            for item in value:
                yield f"{prefix}{name}.{item['name']}", json.dumps({key: item[key] for key in item if key != "name"})
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


@task(task_run_name="await_features-{use_case}", retry_condition_fn=_may_pass, **_TASK)
def await_features(pipeline: Pipeline, use_case: str) -> None:
    """Wait for a feature run that goes on, and then until there are features up to the instant of a pipeline.

    The feature flow may begin between two attempts. A step that reads features keeps it out, and would wait in vain.
    """
    with alone(Run.load(use_case=use_case), ["feature"], _TIMEOUT) as run:
        FeatureStore.open(run).require(run.as_of(pipeline))


@task(task_run_name="keep_version-{use_case}", **_TASK)
def keep_version(flow: str, use_case: str, stages: Sequence[str], began: Inputs) -> None:
    """Record the current outputs of the stages in DVC, and keep that dvc.lock with the run, so that the data can be restored.

    `began` holds the files that people edit as they were when the flow began, for all of its stages.
    """
    run = Run.load(use_case=use_case)
    kept = run.paths.state / "runs" / flow / flow_run.id / LOCK_FILE
    with progress_artifact("keep_version"):
        commit_stages(run, stages, kept, began)
    name = f"{flow}-data-version"
    create_markdown_artifact(_recipe(run, kept), key=_key(run, name), description=f"{run.scope.namespace}: {name}")


def _key(run: Run, name: str) -> str:
    """The key of an artifact. Prefect allows lowercase letters, digits and dashes."""
    return f"{run.scope.namespace}-{name}".lower().replace("_", "-")


def _recipe(run: Run, kept: Path) -> str:
    lock, version = kept.relative_to(run.root).as_posix(), FeatureStore.open(run).version()
    return (
        f"Data version `{version}`. To restore the data of this run, run from the root of the checkout:\n\n"
        f"```\nratchet --use-case {run.settings.use_case} restore {lock}\n```\n"
    )
