"""A real MLflow server on a free port."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tests.support.ports import free_port
from tests.support.waiting import LONGEST


@contextmanager
def serving(folder: Path, empty_database: Path) -> Iterator[str]:
    """The address of a server that answers; what it keeps is in the folder."""
    database, port = folder / "server.db", free_port()
    shutil.copy(empty_database, database)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *stores], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/health")
        yield address
    finally:
        process.terminate()
        process.wait(LONGEST)


def _wait_for(address: str) -> None:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(600, backoff_factor=0.1, backoff_max=0.2)))
        session.get(address, timeout=LONGEST).raise_for_status()
