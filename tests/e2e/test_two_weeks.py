"""Two weeks of three deployments on a real Prefect server, with workers that are killed in turn: features every hour,
predictions every six hours, training every night.

The clock is virtual: the runs that the server would have scheduled in those weeks are given to it with their scheduled starts,
one after the other as fast as they are worked off. Only training is not waited for.

The server's database is PostgreSQL: on SQLite, it answers nothing for a minute or two now and then ("database is locked").
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from cronsim import CronSim
from prefect.settings import PREFECT_API_URL, temporary_settings

from ratchet.project.run import PIPELINES, Run
from ratchet.storage.partitions import files
from tests.support.checkout import commit, environment, plain_checkout, run_command
from tests.support.counting_flow import await_true
from tests.support.postgres_server import PASSWORD, NoServerError, postgres_server
from tests.support.prefect_server import PrefectServer, prefect_server

BEGIN = datetime(2023, 3, 15, tzinfo=UTC)
END = BEGIN + timedelta(days=14)
SCHEDULES = {"feature": "0 * * * *", "training": "35 2 * * *", "inference": "20 */6 * * *"}
KILLS = {"feature": (53, 121, 190), "training": (4, 9), "inference": (17, 40)}
"""The runs of each pipeline whose worker and process are killed, by their number. The first feature run among them is needed by
an inference run, the second by a training run, the third by none."""
POLLS_OFTEN = {"PREFECT_WORKER_QUERY_SECONDS": "1"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small city whose trips are delivered as they end, some of them days late. Everything has run as of the beginning."""
    checkout = plain_checkout(tmp_path_factory.mktemp("weeks"))
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    taxi = params["use_cases"]["nyc_taxi"]
    options = {"trips_per_day": 300, "late": {"share": 0.01, "after": "3d"}}
    taxi["source"] |= {"history": False, "options": options}
    taxi["windows"] |= {"early_stopping": "5d", "holdout": "10d", "fresh": "5d"}  # a late trip is still scored
    taxi["training"]["lightgbm"]["n_estimators"] = 60
    taxi["schedules"] = SCHEDULES
    path.write_text(yaml.safe_dump({**params, "use_cases": {"nyc_taxi": taxi}}, sort_keys=False), encoding="utf-8")
    (checkout / "as_of.yaml").unlink()
    commit(checkout, "Begin")
    run_command(checkout, "python", "-m", "cli", "advance", "--to", BEGIN.isoformat())
    run_command(checkout, "dvc", "repro")
    return checkout


@dataclass
class Weeks:
    """The deployments, their workers, and the runs so far: pipeline → scheduled start → id."""

    server: PrefectServer
    checkout: Path
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    runs: dict[str, dict[datetime, str]] = field(default_factory=lambda: {name: {} for name in PIPELINES})
    killed: list[str] = field(default_factory=list)

    def start_worker(self, pipeline: str) -> None:
        command = ["prefect", "worker", "start", "--pool", "ratchet", "--work-queue", pipeline]
        with (self.checkout.parent / f"{pipeline}.log").open("ab") as log:
            self.workers[pipeline] = subprocess.Popen(
                command, cwd=self.checkout, env={**environment(), **POLLS_OFTEN}, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Stop the workers."""
        for worker in self.workers.values():
            worker.kill()
            worker.wait()

    def begin(self, pipeline: str, at: datetime) -> None:
        """Let the server schedule a run, and kill it if it is one of those."""
        number = len(self.runs[pipeline])
        run = self.runs[pipeline][at] = self.server.start(f"{pipeline}/nyc_taxi", at)
        if number in KILLS[pipeline]:
            self._kill(pipeline, run, random.Random(number).uniform(0, 4))

    def _kill(self, pipeline: str, run: str, seconds: float) -> None:
        """Kill the process of a run and its worker, some seconds after it began, and start the worker again."""
        self.server.await_state(run, "Running")
        process = self.server.process(run)
        time.sleep(seconds)  # a random moment
        self.workers[pipeline].kill()
        self.workers[pipeline].wait()
        os.kill(process, signal.SIGKILL)
        self.killed.append(run)
        self.start_worker(pipeline)

    def await_end(self, pipeline: str, at: datetime) -> None:
        """Until a run has ended, or was killed."""
        run = self.runs[pipeline][at]
        if run not in self.killed:
            self.server.await_end(run)


def ticks(cron: str) -> list[datetime]:
    """When a schedule is due in those weeks."""
    found = []
    for at in CronSim(cron, BEGIN):
        if at >= END:
            return found
        found.append(at)
    raise AssertionError(cron)


@pytest.fixture(scope="module")
def weeks(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weeks]:
    """After the two weeks: each run has ended."""
    with ExitStack() as stack:
        server = stack.enter_context(_deployed(checkout, tmp_path_factory.mktemp("prefect")))
        weeks = Weeks(server, checkout)
        stack.callback(weeks.stop)
        for pipeline in PIPELINES:
            weeks.start_worker(pipeline)
        due = sorted((at, pipeline) for pipeline, cron in SCHEDULES.items() for at in ticks(cron))
        for at, pipeline in due:
            if pipeline == "feature" and weeks.runs["inference"]:
                weeks.await_end("inference", max(weeks.runs["inference"]))
            weeks.begin(pipeline, at)
            if pipeline == "feature":
                weeks.await_end(pipeline, at)
        for runs in weeks.runs.values():
            for run in runs.values():
                server.await_end(run)
        yield weeks


@contextmanager
def _deployed(checkout: Path, folder: Path) -> Iterator[PrefectServer]:
    """A server that has the deployments, and schedules no run by itself."""
    with (
        _database() as database,
        prefect_server(folder, database) as (server, found),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in found.items():
            patch.setenv(name, value)
        with temporary_settings({PREFECT_API_URL: found["PREFECT_API_URL"]}):
            run_command(checkout, "prefect", "work-pool", "create", "ratchet", "--type", "process")
            run_command(checkout, "python", "-m", "flows.deploy", "nyc_taxi")
            server.pause()
            yield server


@contextmanager
def _database() -> Iterator[str]:
    try:
        with postgres_server() as address:
            yield address.replace("postgresql://", "postgresql+asyncpg://").replace("@", f":{PASSWORD}@")
    except NoServerError as error:
        pytest.skip(str(error))


def found(weeks: Weeks, pipeline: str) -> dict[datetime, dict[str, Any]]:
    """Scheduled start → what the server knows of that run."""
    return {at: weeks.server.run(run) for at, run in weeks.runs[pipeline].items()}


@pytest.mark.soak
class TestTwoWeeks:
    def test_each_instant_is_computed_once(self, weeks: Weeks) -> None:
        """A feature run works as of its scheduled start, the others as of the last one before theirs."""
        for pipeline in PIPELINES:
            for at, run in found(weeks, pipeline).items():
                if run["id"] not in weeks.killed:
                    as_of = max(tick for tick in [BEGIN, *ticks(SCHEDULES["feature"])] if tick <= at)
                    assert f"{pipeline}-nyc_taxi-{as_of:%Y-%m-%dT%H:%M}" == run["name"]
                    assert 1 == run["run_count"]

    def test_no_run_is_skipped_silently(self, weeks: Weeks) -> None:
        """A killed run has crashed, one that needed its features has failed, and every other has completed."""
        killed = {at for at, run in weeks.runs["feature"].items() if run in weeks.killed}
        for pipeline in PIPELINES:
            for at, run in found(weeks, pipeline).items():
                needed = max(tick for tick in [BEGIN, *ticks(SCHEDULES["feature"])] if tick <= at)
                expected = "FAILED" if needed in killed and pipeline != "feature" else "COMPLETED"
                assert ("CRASHED" if run["id"] in weeks.killed else expected) == run["state"]["type"], run["state"]
        made = sum(len(runs) for runs in weeks.runs.values())
        assert made == weeks.server.count_runs()

    def test_no_place_and_no_process_is_left(self, weeks: Weeks) -> None:
        """Every killed worker was replaced, and its run's place is free."""
        assert {0} == {one["global_concurrency_limit"]["active_slots"] for one in weeks.server.deployments().values()}
        for pipeline in PIPELINES:
            for run in found(weeks, pipeline).values():
                process = run["infrastructure_pid"].rpartition(":")[2]
                await_true(lambda process=process: not is_run(process))  # its state is known before it ends

    def test_a_feature_run_never_waits_for_a_training_run(self, weeks: Weeks) -> None:
        """While a training run went on, feature runs began and ended."""
        spans = [(run["start_time"], run["end_time"]) for run in found(weeks, "training").values()]
        features = [run for run in found(weeks, "feature").values() if run["state"]["type"] == "COMPLETED"]
        assert any(begin < run["start_time"] and run["end_time"] < end for begin, end in spans for run in features)

    def test_dvc_has_nothing_to_do(self, weeks: Weeks) -> None:
        """What the flows recorded is what stands."""
        stages = ("ingest", "validate", "featurize", "materialize", "predict", "monitor")
        shown = run_command(weeks.checkout, "dvc", "status", *(f"{stage}@nyc_taxi" for stage in stages)).stdout
        assert "Data and pipelines are up to date." in shown

    def test_every_request_has_its_prediction(self, weeks: Weeks) -> None:
        """From the first instant on, each that was known at the last one was scored, by one model each time."""
        run = Run.load(weeks.checkout, "nyc_taxi")
        asked = pq.read_table(files(run.paths.features / "requests"))  # type: ignore[arg-type]
        requests = {
            name
            for name, at in zip(asked["request_id"].to_pylist(), asked["event_timestamp"].to_pylist(), strict=True)
            if at >= BEGIN
        }
        scored = pq.ParquetDataset(files(run.paths.predictions)).read()  # type: ignore[arg-type]
        assert requests <= {*scored["request_id"].to_pylist()}


def is_run(process: str) -> bool:
    """Whether this is still the process of a run: in an hour its number may be another one's."""
    try:
        return b"prefect.engine" in (Path("/proc") / process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
