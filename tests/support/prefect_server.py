"""A real Prefect server of its own, on a free port, with its database in a temporary folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 120


class PrefectServer:
    """What a test asks of the server's API."""

    def __init__(self, client: httpx.Client, log: Path) -> None:
        self._client, self._log = client, log

    def is_healthy(self) -> bool:
        """Whether it answers that it is."""
        with suppress(httpx.TransportError):
            return self._client.get("/health").is_success
        return False

    def deployments(self) -> dict[str, dict[str, Any]]:
        """`{flow}/{deployment}` → what the server knows of it."""
        flows = {flow["id"]: flow["name"] for flow in self._ask("flows/filter")}
        return {f"{flows[found['flow_id']]}/{found['name']}": found for found in self._ask("deployments/filter")}

    def pause(self) -> None:
        """Let no schedule start a run of its own."""
        for found in self.deployments().values():
            self._client.post(f"/deployments/{found['id']}/pause_deployment").raise_for_status()

    def start(self, deployment: str) -> None:
        """A new flow run, for a worker to pick up."""
        path = f"deployments/{self.deployments()[deployment]['id']}/create_flow_run"
        self._ask(path, state={"type": "SCHEDULED"})

    def newest_run(self, flow: str) -> dict[str, Any]:
        """The run of a flow that began last."""
        began = {"start_time": {"is_null_": False}}
        flows = {"name": {"any_": [flow]}}
        return dict(self._ask("flow_runs/filter", flows=flows, flow_runs=began, sort="START_TIME_DESC", limit=1)[0])

    def artifacts(self, run: dict[str, Any]) -> dict[str, str]:
        """Key → data of the artifacts of a flow run."""
        found = self._ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
        return {artifact["key"]: artifact["data"] for artifact in found if artifact["key"]}

    def automations(self) -> list[str]:
        """Names of the server's automations."""
        return [found["name"] for found in self._ask("automations/filter")]

    def await_log(self, words: str) -> str:
        """The server's log, once the words stand in it."""
        for _ in range(START_SECONDS * 5):
            text = self._log.read_text(encoding="utf-8")
            if words in text:
                return text
            time.sleep(0.2)
        raise AssertionError(f"the log does not say {words!r}")

    def _ask(self, path: str, **body: Any) -> Any:
        return self._client.post(f"/{path}", json=body).raise_for_status().json()


@contextmanager
def prefect_server(folder: Path) -> Iterator[tuple[PrefectServer, dict[str, str]]]:
    """A server while the block lasts, and the environment in which a process finds it. The server does not know its address."""
    port = _free_port()
    found = {"PREFECT_HOME": str(folder), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(command, env={**os.environ, "PREFECT_HOME": str(folder)}, stdout=log, stderr=log) as process,
        httpx.Client(base_url=found["PREFECT_API_URL"], timeout=30, trust_env=False) as client,
    ):
        try:
            server = PrefectServer(client, folder / "server.log")
            _await(server, process, folder / "server.log")
            yield server, found
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(server: PrefectServer, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS * 5):
        if server.is_healthy():
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    raise AssertionError(log.read_text(encoding="utf-8"))
