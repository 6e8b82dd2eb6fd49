"""`ratchet ui` starts MLflow's server as it is, on a real registry, and ends all of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from ratchet.project import Project
from tests.support.checkout import ROOT
from tests.support.mlflow_server import free_port
from tests.support.projects import params


def started(project: Project, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """`ratchet ui` in the project's folder."""
    (project.root / "params.yaml").write_text(params(project.settings), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "cli", "ui", *arguments]
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def showing(project: Project, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the link that it printed once it could be followed."""
    with started(project, "--port", str(port)) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_pages_are_there_until_they_are_stopped(served: Project, stop: signal.Signals) -> None:
    """The link leads to the model of this checkout, few processes serve it, and none of them is left."""
    port = free_port()
    with showing(served, port) as (process, link):
        assert f"http://127.0.0.1:{port}/#/models/{served.namespace}" == link
        assert httpx.get(link, trust_env=False).is_success
        asked = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/registered-models/get?name={served.namespace}"
        assert served.namespace == httpx.get(asked, trust_env=False).json()["registered_model"]["name"]
        running = psutil.Process(process.pid).children(recursive=True)
        assert len(running) <= 2  # the server and its worker
        process.send_signal(stop)
        assert 0 == process.wait(60)
        assert [] == [one for one in running if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not (served.root / "mlruns").exists()


def test_a_port_that_is_taken_is_named(served: Project) -> None:
    """One line says so, and no server is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with started(served, "--port", str(port)) as process:
            out, error = process.communicate()
    assert (1, "", 1) == (process.returncode, out, error.count("\n"))
    assert f"port {port}" in error


def test_without_a_registry_nothing_is_made(served: Project) -> None:
    """What to run first is named, and no empty database appears."""
    (served.shared_state / "mlflow.db").unlink()
    with started(served) as process:
        out, error = process.communicate()
    assert (1, "") == (process.returncode, out)
    assert "dvc repro" in error
    assert not (served.shared_state / "mlflow.db").exists()


def test_another_server_is_pointed_to(served: Project) -> None:
    """Where RATCHET_TRACKING_URI names one, its own page of the model is named, and nothing is started."""
    with started(served, RATCHET_TRACKING_URI="https://mlflow.example.org/") as process:
        out, _ = process.communicate()
    assert f"https://mlflow.example.org/#/models/{served.namespace}\n" == out
    assert 0 == process.returncode
