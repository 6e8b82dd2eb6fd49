"""`ratchet ui`: MLflow's pages about the checkout's models, in one small server that ends with the command."""

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
from typing import TYPE_CHECKING, NoReturn

import click

from cli.context import current_run
from cli.listening import refusal
from ratchet.core.errors import RegistryError
from ratchet.storage import sqlite

if TYPE_CHECKING:
    from ratchet.project.run import Run

HOST = "127.0.0.1"
_START_SECONDS, _STOP_SECONDS = 180, 10


@click.command()
@click.option(
    "--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="The port of MLflow's pages."
)
def ui(port: int) -> None:
    """Show runs, models and their aliases in MLflow's pages, until Ctrl-C.

    If RATCHET_TRACKING_URI names a server, it only prints the address of that server's pages."""

    run = current_run()
    uri = run.environment.tracking_uri
    if uri.startswith("http"):
        click.echo(f"{uri.rstrip('/')}/#/models/{run.scope.namespace}")
        return
    page, backend, log = page_of(run), uri or _own_database(run), run.paths.shared_state / "ui.log"
    if refusal(socket.AF_INET, (HOST, port)):
        raise RegistryError(
            "is used by another program", subject=f"port {port}", remedy="Choose a free port with --port"
        )
    with _server(run.paths.shared_state, backend, port, log) as server:
        _await_start(server, port, log)
        click.echo(f"http://{HOST}:{port}/{page}\nCtrl-C stops it.")
        server.wait()
    raise RegistryError("has ended", subject="MLflow's server", remedy=f"See {log}")


def page_of(run: Run) -> str:
    """The page of the use case's model, or the list of all models if it has none.

    Opening the registry also corrects its paths if the checkout was moved."""
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.model_registry.open_registry import open_registry

    with open_registry(ModelRegistry.open(run), "promotion") as registry:
        return f"#/models/{run.scope.namespace}" if registry.versions() else "#/models"


def _own_database(run: Run) -> str:
    """The URL of the checkout's own registry. Raises RegistryError if there is none; it is not created here."""
    path = run.paths.shared_state / "mlflow.db"
    if not path.exists():
        raise RegistryError("there is no model registry yet", subject=str(path), remedy="Run `dvc repro` first")
    return sqlite.url(path)


@contextmanager
def _server(state: Path, backend: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server with one worker and no jobs. Its process group is ended whenever the `with` block ends."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": backend,  # not an argument: it may hold a password
        "MLFLOW_ARTIFACTS_DESTINATION": str(state / "mlartifacts"),
    }
    state.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    with (
        log.open("wb") as out,
        subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True) as server,
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
    """End the server and its workers, by force if they do not end in time."""
    for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(server.pid, number)
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def _await_start(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server accepts connections. Raises RegistryError with the server's last line if it ends or is too slow."""
    until = time.monotonic() + _START_SECONDS
    while not refusal(socket.AF_INET, (HOST, port)):
        if server.poll() is not None or time.monotonic() > until:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"]
            raise RegistryError(f"does not start ({lines[-1]})", subject="MLflow's server", remedy=f"See {log}")
        time.sleep(0.1)
