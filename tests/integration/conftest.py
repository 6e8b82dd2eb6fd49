"""Fixtures of the integration tests. What they need is imported when they run: MLflow alone takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ratchet.project.run import Run
from tests.support.runs import noshow_project, run_through
from tests.support.shared import shared

if TYPE_CHECKING:
    from tests.support.serving import Server


@pytest.fixture(scope="session")
def redis_address() -> Iterator[str]:
    """A Redis server for all tests of a process."""
    from tests.support.redis_server import NoServerError, redis_server

    pytest.importorskip("hiredis", reason="the parser of Redis is not installed")
    try:
        with redis_server() as (address, _):
            yield address
    except NoServerError as error:
        pytest.skip(str(error))


@pytest.fixture
def empty_redis(redis_address: str) -> str:
    """The address of a Redis in which nothing is left over."""
    import redis

    with redis.from_url(redis_address) as client:
        client.flushall()
    return redis_address


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project in which MLflow has made its database: that takes seconds, so it is done once and copied."""
    from tests.support.registry import create_registry

    return shared(tmp_path_factory, "empty", noshow_project, create_registry)


@pytest.fixture(scope="session")
def served_registry(tmp_path_factory: pytest.TempPathFactory, empty_registry: Run) -> Run:
    """A project in whose registry a baseline served (version 1), and a candidate does (version 2)."""
    from tests.support.registry import copied, trained
    from training_pipeline.register import register

    return shared(
        tmp_path_factory, "served", noshow_project, lambda run: register(trained(copied(empty_registry, run.root)))
    )


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A checkout in which every step has run once; to be left as it is found."""
    return shared(tmp_path_factory, "finished", partial(noshow_project, rows_per_week=150), run_through)


@pytest.fixture(scope="session")
def featurized_parcels(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project of two tables whose features are up to date, with nothing applied; to be left as it is found."""
    from feature_pipeline.featurize import featurize
    from tests.support.accepted import accept_all
    from tests.support.parcels import parcels_project

    def prepare(run: Run) -> None:
        accept_all(run)
        featurize(run)

    return shared(tmp_path_factory, "parcels", parcels_project, prepare)


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
def prepared_to_serve(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project in which everything up to a serving model happened, on real stores; to be copied."""
    from tests.support.serving import serve

    return shared(tmp_path_factory, "serving", partial(noshow_project, rows_per_week=60), serve)


@pytest.fixture(scope="session")
def serving_project(tmp_path_factory: pytest.TempPathFactory, prepared_to_serve: Run) -> Run:
    """A copy of that project, to be left as it is found."""
    from tests.support.registry import copied

    return copied(prepared_to_serve, tmp_path_factory.mktemp("serving") / "project")


@pytest.fixture(scope="session")
def server(serving_project: Run) -> Iterator[Server]:
    """The online service of `serving_project`, as `ratchet serve` runs it."""
    from tests.support.serving import running

    with running(serving_project) as server:
        yield server
