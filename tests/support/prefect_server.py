"""A real Prefect server of its own, on a free port, with its database in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support.ports import free_port

START_SECONDS = 120
RUN_SECONDS = 900
BUSY = httpx.codes.SERVICE_UNAVAILABLE
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
Found = TypeVar("Found")
QUICK = {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1"}
"""How soon a run that waits for another one is looked at again; 30 seconds by default."""


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

    def start(self, deployment: str, at: datetime | None = None) -> str:
        """A new flow run, scheduled for an instant or for now, for a worker to pick up; its id."""
        path = f"deployments/{self.deployments()[deployment]['id']}/create_flow_run"
        details = {"state_details": {"scheduled_time": at.isoformat()}} if at else {}
        return str(self._ask(path, state={"type": "SCHEDULED", **details})["id"])

    def set_states(self, run: str, *states: str, force: bool = False) -> None:
        """Let a run go through states, as a worker, a process or a person lets it; there is no process. With `force`, it waits
        for no other run of its deployment.

        One after the other, as people and processes are slow: the server may lose one of two events that come at once.
        """
        for state in states:
            self._ask(f"flow_runs/{run}/set_state", state={"type": state}, force=force)
            self._await_event(run, state.capitalize())

    def await_state(self, run: str, name: str) -> dict[str, Any]:
        """A flow run, once its state has this name."""
        return _awaited(lambda: self.run(run), lambda found: found["state"]["name"] == name)

    def await_task(self, name: str) -> None:
        """Until some task run has had a state of this name."""
        wanted = {"event": {"name": [f"prefect.task-run.{name}"]}}
        _awaited(lambda: self._ask("events/filter", filter=wanted), lambda found: bool(found["events"]))

    def await_end(self, run: str) -> None:
        """Until a flow run has ended in some way."""
        _awaited(lambda: self.run(run), lambda found: found["state"]["type"] in ENDS, RUN_SECONDS)

    def await_heartbeat(self, run: str) -> None:
        """Until the server has a heartbeat of a flow run."""
        self._await_event(run, "heartbeat")

    def _await_event(self, run: str, name: str) -> None:
        wanted = {"event": {"name": [f"prefect.flow-run.{name}"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
        _awaited(lambda: self._ask("events/filter", filter=wanted), lambda found: bool(found["events"]))

    def process(self, run: str) -> int:
        """The number of the process of a flow run that a worker on this machine started."""
        return int(self.run(run)["infrastructure_pid"].rpartition(":")[2])

    def run(self, run: str) -> dict[str, Any]:
        """What the server knows of a flow run."""
        return dict(self._client.get(f"/flow_runs/{run}").raise_for_status().json())

    def count_runs(self) -> int:
        """How many flow runs there are."""
        return int(self._ask("flow_runs/count"))

    def newest_run(self, flow: str) -> dict[str, Any]:
        """The run of a flow that began last."""
        began = {"start_time": {"is_null_": False}}
        flows = {"name": {"any_": [flow]}}
        return dict(self._ask("flow_runs/filter", flows=flows, flow_runs=began, sort="START_TIME_DESC", limit=1)[0])

    def progress(self, run: dict[str, Any]) -> list[tuple[float, str]]:
        """Percent and description of each progress artifact of a flow run."""
        ours = {"flow_run_id": {"any_": [run["id"]]}, "type": {"any_": ["progress"]}}
        return [(found["data"], found["description"]) for found in self._ask("artifacts/filter", artifacts=ours)]

    def logs(self, run: dict[str, Any]) -> list[str]:
        """What a flow run and its tasks logged."""
        return [found["message"] for found in self._ask("logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}})]

    def artifacts(self, run: dict[str, Any]) -> dict[str, str]:
        """Key → data of the artifacts of a flow run."""
        found = self._ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
        return {artifact["key"]: artifact["data"] for artifact in found if artifact["key"]}

    def automations(self) -> dict[str, str]:
        """Name → id of the server's automations."""
        found = self._ask("automations/filter")
        assert len(found) == len({one["name"] for one in found})
        return {one["name"]: one["id"] for one in found}

    def await_log(self, words: str) -> str:
        """The server's log, once the words stand in it."""
        return _awaited(lambda: self._log.read_text(encoding="utf-8"), lambda text: words in text)

    def _ask(self, path: str, **body: Any) -> Any:
        """The answer; a server whose database is busy is asked again, as Prefect's own client does."""
        answer = _awaited(lambda: self._client.post(f"/{path}", json=body), lambda found: found.status_code != BUSY)
        return answer.raise_for_status().json()


def _awaited(look: Callable[[], Found], is_there: Callable[[Found], bool], seconds: int = START_SECONDS) -> Found:
    """What is found, once it is what is waited for."""
    for _ in range(seconds * 5):
        found = look()
        if is_there(found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"after {seconds} seconds there is only {found}")


@contextmanager
def prefect_server(folder: Path, database: str = "") -> Iterator[tuple[PrefectServer, dict[str, str]]]:
    """A server while the block lasts, and the environment in which a process finds it. The server does not know its address.

    Its database is in the folder, or at the URL `database`.
    """
    port, stored = free_port(), {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database} if database else {}
    found = {"PREFECT_HOME": str(folder), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            command, env={**os.environ, **QUICK, **stored, "PREFECT_HOME": str(folder)}, stdout=log, stderr=log
        ) as process,
        httpx.Client(base_url=found["PREFECT_API_URL"], timeout=START_SECONDS, trust_env=False) as client,
    ):
        try:
            server = PrefectServer(client, folder / "server.log")
            _await(server, process, folder / "server.log")
            yield server, found
        finally:
            process.terminate()


def _await(server: PrefectServer, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS * 5):
        if server.is_healthy():
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    raise AssertionError(log.read_text(encoding="utf-8"))
