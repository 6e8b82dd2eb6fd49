"""`ratchet ui`: MLflow's pages about the checkout's models, as one small process that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

HOST = "127.0.0.1"
_START_SECONDS, _STOP_SECONDS = 180, 10


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Where it listens.")
def ui(port: int) -> None:
    """Show runs, models and their aliases in MLflow's pages, until Ctrl-C.

    Where RATCHET_TRACKING_URI names a server, it only says where that server's pages are."""
    from ratchet.project import Project

    project = Project.load(use_case=click.get_current_context().obj)
    uri, page = project.stores.tracking_uri, f"#/models/{project.namespace}"
    if uri.startswith("http"):
        click.echo(f"{uri.rstrip('/')}/{page}")
        return
    database = project.shared_state / "mlflow.db"
    _require(uri or database.exists(), "there is no model registry yet", str(database), "Run `dvc repro` first")
    _require(_is_free(port), "is used by another program", f"port {port}", "Name a free one with --port")
    with _server(project.shared_state, uri or f"sqlite:///{database}", port) as server:
        _await_start(server, port, project.shared_state / "ui.log")
        click.echo(f"http://{HOST}:{port}/{page}\nCtrl-C stops it.")
        server.wait()
        _require(False, "has ended", "MLflow's server", f"See {project.shared_state / 'ui.log'}")


def _require(condition: object, problem: str, subject: str, remedy: str) -> None:
    from ratchet.errors import RegistryError

    if not condition:
        raise RegistryError(problem, subject=subject, remedy=remedy)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def _server(state: Path, backend: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server with one worker and no jobs, in a process group that ends with the block, however the block ends."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": backend,  # not an argument: it may hold a password
        "MLFLOW_ARTIFACTS_DESTINATION": str(state / "mlartifacts"),
    }
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    with (
        (state / "ui.log").open("wb") as log,
        subprocess.Popen(command, cwd=state, env=environment, stdout=log, stderr=log, start_new_session=True) as server,
    ):
        try:
            yield server
        except KeyboardInterrupt:
            sys.exit(0)
        finally:
            _end(server)


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, by force where it does not do so by itself."""
    for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(server.pid, number)
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def _await_start(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server takes connections. Raises RegistryError with the last line that it wrote where it ends instead."""
    began = time.monotonic()
    while _is_free(port):
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
        _require(server.poll() is None, f"ended while it started ({said[-1]})", "MLflow's server", f"See {log}")
        _require(time.monotonic() - began < _START_SECONDS, "does not start", "MLflow's server", f"See {log}")
        time.sleep(0.1)
