"""`ratchet ui` starts MLflow's server as it is, on a real registry, and ends all of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from cli.commands.ui import page_of
from ratchet.project.run import Run
from tests.support.checkout import ROOT
from tests.support.ports import free_port
from tests.support.registry import with_namespace
from tests.support.runs import write_settings
from tests.support.waiting import LONGEST


def started(run: Run, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """`ratchet ui` in the project's folder."""
    write_settings(run.root, run)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "cli", "ui", *arguments]
    return subprocess.Popen(
        command, cwd=run.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def showing(run: Run, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the link that it printed once it could be followed."""
    with started(run, "--port", str(port)) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture
def moved(served: Run, tmp_path: Path) -> Run:
    """The project in a folder of another name, in which an address would end early or be decoded."""
    return replace(served, root=served.root.rename(tmp_path / "a ?b #c %41"))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_pages_are_there_until_they_are_stopped(moved: Run, stop: signal.Signals) -> None:
    """The link leads to the model of this checkout, wherever it is; few processes serve it, and none of them is left."""
    port = free_port()
    with showing(moved, port) as (process, link):
        assert f"http://127.0.0.1:{port}/#/models/{moved.scope.namespace}" == link
        assert httpx.get(link, trust_env=False, timeout=LONGEST).is_success
        asked = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/registered-models/get?name={moved.scope.namespace}"
        model = httpx.get(asked, trust_env=False, timeout=LONGEST).json()["registered_model"]
        assert moved.paths.shared_state.as_uri() in model["latest_versions"][0]["source"]
        running = psutil.Process(process.pid).children(recursive=True)
        assert len(running) <= 2  # the server and its worker
        process.send_signal(stop)
        assert 0 == process.wait(LONGEST)
        assert [] == [one for one in running if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not (moved.root / "mlruns").exists()
    assert [moved.root] == [*moved.root.parent.iterdir()]


def test_a_use_case_without_a_model_is_shown_the_list(served: Run) -> None:
    """A link to its own page would lead to an error."""
    assert "#/models" == page_of(with_namespace(served))


def test_a_port_that_is_taken_is_named(served: Run) -> None:
    """One line says so, and no server is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with started(served, "--port", str(port)) as process:
            out, error = process.communicate()
    assert (1, "", 1) == (process.returncode, out, error.count("\n"))
    assert f"port {port}" in error


def test_without_a_registry_nothing_is_made(served: Run) -> None:
    """What to run first is named, and no empty database appears."""
    (served.paths.shared_state / "mlflow.db").unlink()
    (served.paths.shared_state / "registered.json").unlink()
    with started(served) as process:
        out, error = process.communicate()
    assert (1, "") == (process.returncode, out)
    assert "dvc repro" in error
    assert not (served.paths.shared_state / "mlflow.db").exists()


def test_another_server_is_pointed_to(served: Run) -> None:
    """Where RATCHET_TRACKING_URI names one, its own page of the model is named, and nothing is started."""
    with started(served, RATCHET_TRACKING_URI="https://mlflow.example.org/") as process:
        out, _ = process.communicate()
    assert f"https://mlflow.example.org/#/models/{served.scope.namespace}\n" == out
    assert 0 == process.returncode
