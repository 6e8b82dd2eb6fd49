"""Projects that are prepared once in a test run, by the worker that asks first, and used by the tests of all workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from ratchet.project.run import Run

Project = Callable[[Path], Run]
"""The project of a folder; nothing is in it yet."""


def shared(factory: pytest.TempPathFactory, name: str, project: Project, prepare: Callable[[Run], object]) -> Run:
    """The project of that name, prepared: to be left as it is found, or copied."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    run, prepared = project(folder), folder.with_suffix(".prepared")
    with FileLock(folder.with_suffix(".lock")):
        if not prepared.exists():
            prepare(run)
            prepared.touch()
    return run
