"""Fixtures of the integration tests. What they need is imported when they run: MLflow alone takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ratchet.project.run import Run
from tests.support.runs import noshow_project

if TYPE_CHECKING:
    from tests.support.serving import Server


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project in which MLflow has made its database: that takes seconds, so it is done once and copied."""
    from tests.support.registry import create_registry

    run = noshow_project(tmp_path_factory.mktemp("empty"))
    create_registry(run)
    return run


@pytest.fixture(scope="session")
def served_registry(tmp_path_factory: pytest.TempPathFactory, empty_registry: Run) -> Run:
    """A project in whose registry a baseline served (version 1), and a candidate does (version 2)."""
    from tests.support.registry import copied, trained
    from training_pipeline.register import register

    run = trained(copied(empty_registry, tmp_path_factory.mktemp("served") / "project"))
    register(run)
    return run


@pytest.fixture
def unserved(tmp_path: Path, empty_registry: Run) -> Run:
    """A project of the test's own with an empty registry."""
    from tests.support.registry import copied

    return copied(empty_registry, tmp_path / "unserved")


@pytest.fixture
def served(tmp_path: Path, served_registry: Run) -> Run:
    """A project of the test's own with versions 1 and 2, of which the second serves."""
    from tests.support.registry import copied

    return copied(served_registry, tmp_path / "served")


@pytest.fixture
def mlflow_server(tmp_path: Path, empty_registry: Run) -> Iterator[str]:
    """The address of a real MLflow server with an empty database and artifacts of its own."""
    from tests.support.mlflow_server import serving

    with serving(tmp_path, empty_registry.paths.shared_state / "mlflow.db") as address:
        yield address


@pytest.fixture(scope="session")
def serving_project(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project in which everything up to a serving model happened, on real stores; to be left as it is found."""
    from tests.support.serving import serve_candidate

    return serve_candidate(tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="session")
def server(serving_project: Run) -> Iterator[Server]:
    """The online service of `serving_project`, as `ratchet serve` runs it."""
    from tests.support.serving import running

    with running(serving_project) as server:
        yield server
