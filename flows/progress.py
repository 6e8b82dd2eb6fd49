"""The progress of a task as an artifact in Prefect's UI, written by a thread of its own so that the task never waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Thread
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from ratchet.core.progress import Progress, show_progress
from ratchet.core.text import one_line

PAUSE = 2.0
"""Seconds before the artifact is made, and between two updates."""
_PATIENCE = 5.0
"""Seconds that a task that has ended waits for its last update. Prefect itself tries for a minute to reach a server."""


@contextmanager
def progress_artifact(name: str) -> Iterator[None]:
    """Show the progress of the running task, or only `name` if it counts nothing, as an artifact of the task run.

    The artifact appears after two seconds, so a quick task has none, is updated every two seconds, and is at 100 % if the
    block ended without an error. If it cannot be written, that is logged once and the task goes on without it.
    """
    artifact = _Artifact(name)
    writer = Thread(target=copy_context().run, args=(artifact.write,), daemon=True)
    writer.start()
    try:
        with show_progress(artifact.show):
            yield
        artifact.percent_at_end = 100.0
    finally:
        artifact.ended.set()
        writer.join(_PATIENCE)


class _Artifact:
    """What the task reported last, and the artifact that shows it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._latest: Progress | None = None
        self.ended = Event()
        self.percent_at_end: float | None = None
        """None if the task failed: the artifact stays as it was."""

    def show(self, progress: Progress) -> None:
        self._latest = progress

    def write(self) -> None:
        """Write the artifact until the task has ended."""
        if self.ended.wait(PAUSE):
            return
        try:
            artifact = create_progress_artifact(self._percent(), description=self._description())
            self._update(cast("UUID", artifact))  # no coroutine, because a thread of its own runs no event loop
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the server or its client, the task goes on
            get_run_logger().warning("The progress of %s is no longer shown: %s", self._name, one_line(str(error)))

    def _update(self, artifact: UUID) -> None:
        shown = self._latest
        while not self.ended.wait(PAUSE):
            if self._latest != shown:
                shown = self._latest
                update_progress_artifact(artifact, self._percent(), description=self._description())
        if self.percent_at_end is not None:
            update_progress_artifact(artifact, self.percent_at_end, description=self._description())

    def _percent(self) -> float:
        latest = self._latest
        return 100.0 * latest.done / latest.total if latest and latest.total else 0.0

    def _description(self) -> str:
        return str(self._latest or self._name)
