"""One run of a pipeline at a time, for each use case and source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ratchet.core.errors import VersionError
from ratchet.project.as_of import read_as_of
from ratchet.project.run import PIPELINES, Pipeline, Run

REPOSITORY = "repository.lock"
"""The lock file of the checkout that a run holds while it reads or changes what DVC knows, or as_of.yaml."""
WAIT = 120.0
"""Seconds."""
QUIET = 5.0
"""Seconds after which a run says that it waits."""
logger = logging.getLogger(__name__)


@contextmanager
def alone(run: Run, pipelines: Iterable[Pipeline], wait: float) -> Iterator[Run]:
    """While the block runs, no other run of these pipelines changes their data of this use case and source.

    Gives the run as of the instants at which the pipelines stand by then: they may have been moved while this run waited.

    A step reads files one after the other, and DVC records them after the step has ended. If another run changed them in
    between, the record would name data that the step never read. Waits up to `wait` seconds for each lock; then raises
    VersionError.
    """
    with ExitStack() as stack:
        for pipeline in sorted(pipelines, key=PIPELINES.index):
            stack.enter_context(held(run.paths.state / f"{pipeline}.lock", wait))
        yield replace(run, instants=read_as_of(run.root, run.settings.use_case) or run.instants)


@contextmanager
def held(path: Path, wait: float) -> Iterator[None]:
    """Hold a lock while the block runs. It is released when its process ends. Raises VersionError after `wait` seconds."""
    import filelock

    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=min(QUIET, wait))
        except filelock.Timeout:
            if wait <= QUIET:
                raise
            logger.warning("waiting for another run, which holds %s", path)
            lock.acquire(timeout=wait - QUIET)
    except filelock.Timeout as error:
        raise VersionError(
            f"is held by another run, also after {wait:g} seconds",
            subject=str(path),
            remedy="Wait until that run has ended, and run again",
        ) from error
    except OSError as error:
        raise VersionError(
            f"cannot be locked ({error})", subject=str(path), remedy="Fix the folder's permissions, and run again"
        ) from error
    try:
        yield
    finally:
        lock.release()
