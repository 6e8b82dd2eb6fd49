"""A flow with tasks that count: one is quick, one waits until its progress is shown, one is taken no artifact from, one fails.

Run as `python -m tests.support.counting_flow` with a Prefect server in the environment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from unittest.mock import patch

from prefect import flow, get_run_logger, task
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.runtime import flow_run

from flows import progress as shown
from ratchet.core.progress import report


def await_true(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; two minutes at most."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("it never happened")


def descriptions() -> list[str | None]:
    """Those of this flow run's progress artifacts."""
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]), type=ArtifactFilterType(any_=["progress"])
    )
    with get_client(sync_client=True) as client:
        return [found.description for found in client.read_artifacts(artifact_filter=wanted)]


@task
def quick() -> None:
    with shown.progress_artifact("quick"):
        report("raw", 1, 1)


@task
def long() -> None:
    with shown.progress_artifact("long"):
        await_true(lambda: descriptions() == ["long"])
        report("raw", 12, 31)
        await_true(lambda: descriptions() == ["raw: 12 of 31"])
        report("raw", 31, 31)


@task
def unshown() -> None:
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logger = get_run_logger()
    assert isinstance(logger, logging.LoggerAdapter)
    logger.logger.addHandler(handler)
    with (
        patch.object(Artifact, "create", side_effect=ConnectionError("no\nserver")),
        shown.progress_artifact("unshown"),
    ):
        await_true(lambda: any("unshown" in line for line in logged))


@task
def failing() -> None:
    with shown.progress_artifact("failing"):
        report("raw", 1, 4)
        await_true(lambda: "raw: 1 of 4" in descriptions())
        raise ValueError("broken")


@flow(name="counting")
def counting() -> None:
    quick()
    long()
    unshown()
    failing(return_state=True)


if __name__ == "__main__":
    counting()
