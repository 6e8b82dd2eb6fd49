"""Three flows on a real Prefect server: each in a process of its own while the other two are stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.dead_runs import end_dead_runs
from flows.deploy import deploy
from flows.notification import tell_of_failures
from ratchet.core.errors import VersionError
from ratchet.core.settings import Schedules
from ratchet.project.headlines import HEADLINES
from ratchet.project.locks import alone
from ratchet.project.run import PIPELINES, Pipeline, Run
from ratchet.project.step_reports import read
from ratchet.storage.digests import directory_md5
from ratchet.storage.files import atomic
from tests.support.checkout import ROOT, commit, environment, noshow_checkout, run_command, write_params
from tests.support.killing import contents
from tests.support.noshow import CLOSED
from tests.support.prefect_server import START_SECONDS, PrefectServer, prefect_server
from tests.support.webhook import webhook

STAGES = {
    "feature": ["ingest", "validate", "featurize", "materialize"],
    "training": ["dataset", "train", "evaluate", "refit", "register", "reconcile"],
    "inference": ["reconcile", "predict", "monitor"],
}
SCHEDULES = {"feature/noshow": "0 * * * *", "training/noshow": "0 3 * * 1", "inference/noshow": "20 * * * *"}
PREFIX = "noshow-clinic"
POLLS_OFTEN = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
SILENCE = timedelta(seconds=45)
"""Longer than between two heartbeats, 30 seconds, or the server would end a run that lives."""
CLEAN = "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the second use case, which trains weekly and is not the selected one."""
    checkout = noshow_checkout(tmp_path_factory.mktemp("checkout"))
    params = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    params["use_cases"]["noshow"]["schedules"]["training"] = SCHEDULES["training/noshow"]
    (checkout / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    select(checkout, "another")
    commit(checkout, "Train weekly")
    return checkout


def select(checkout: Path, use_case: str) -> None:
    """Let params.yaml select a use case."""
    params = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    with atomic(checkout / "params.yaml") as temporary:
        temporary.write_text(yaml.safe_dump({**params, "use_case": use_case}), encoding="utf-8")


def run(checkout: Path) -> Run:
    return Run.load(checkout, "noshow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server that this process and its children find in their environment."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as (server, found), pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        with temporary_settings({PREFECT_API_URL: found["PREFECT_API_URL"]}):
            yield server


@pytest.fixture(scope="module")
def hook() -> Iterator[tuple[str, SimpleQueue[dict[str, Any]]]]:
    """A webhook that takes what it is told, and answers that there is no such page."""
    with webhook(answer=404) as found:
        yield found


@pytest.fixture(scope="module")
def too_early(server: PrefectServer, checkout: Path) -> subprocess.CompletedProcess[str]:
    """Deploying before there is a work pool."""
    return run_command(checkout, "python", "-m", "flows.deploy", "noshow", check=False)


@pytest.fixture(scope="module")
def said(
    too_early: subprocess.CompletedProcess[str], checkout: Path, hook: tuple[str, SimpleQueue[dict[str, Any]]]
) -> list[str]:
    """What was printed when the use case was deployed, as prefect.yaml says to do it, to a server that tells the webhook."""
    run_command(checkout, "prefect", "work-pool", "create", "ratchet", "--type", "process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_NOTIFY_URL", hook[0])
        return run_command(checkout, "python", "-m", "flows.deploy", "noshow").stdout.splitlines()


@pytest.fixture(scope="module")
def deployed(server: PrefectServer, said: list[str]) -> PrefectServer:
    """The server after that."""
    return server


def worker(queue: str) -> list[str]:
    """The command of a worker for one of the three queues."""
    return ["prefect", "worker", "start", "--pool", "ratchet", "--work-queue", queue]


def await_posts(hook: tuple[str, SimpleQueue[dict[str, Any]]], *words: str) -> list[str]:
    """What was posted to the webhook, until each of the words is in one of the texts. A refused one is posted again."""
    texts: list[str] = []
    while not all(any(word in text for text in texts) for word in words):
        texts.append(hook[1].get(timeout=START_SECONDS)["text"])
    return texts


@dataclass(frozen=True)
class Killed:
    """What the server knows of four dead runs."""

    running: dict[str, Any]
    """Its process and its worker were killed while it ran, and another run of the deployment waited."""
    pending: dict[str, Any]
    """It was handed to a process that never began."""
    silent: dict[str, Any]
    """Its process was killed before it sent a heartbeat."""
    cancelled: dict[str, Any]
    """A person cancelled it when its process was dead already."""


@pytest.fixture(scope="module")
def killed(deployed: PrefectServer, checkout: Path, hook: tuple[str, SimpleQueue[dict[str, Any]]]) -> Killed:
    """The dead runs, once the server has ended them and told the webhook."""
    deployed.pause()
    end_dead_runs(SILENCE)
    silent, cancelled = deployed.start("training/noshow"), deployed.start("inference/noshow")
    deployed.set_states(silent, "RUNNING", force=True)
    deployed.set_states(cancelled, "PENDING", "RUNNING", "CANCELLING")
    with (
        alone(run(checkout), ["feature"], wait=0),  # so that it runs until it is killed
        subprocess.Popen(worker("feature"), cwd=checkout, env={**environment(), **POLLS_OFTEN}) as process,
    ):
        try:
            running = deployed.start("feature/noshow")
            deployed.await_heartbeat(running)
            waiting = deployed.start("feature/noshow")
            deployed.await_state(waiting, "AwaitingConcurrencySlot")
            flow = deployed.process(running)
            process.kill()  # first, because it would tell the server
            os.kill(flow, signal.SIGKILL)
        finally:
            process.kill()
    ended = {
        "silent": deployed.await_state(silent, "Crashed"),
        "cancelled": deployed.await_state(cancelled, "Cancelled"),
    }
    end_dead_runs(SILENCE, timedelta(seconds=10))
    pending = deployed.start("training/noshow")
    deployed.set_states(pending, "PENDING")
    ended |= {"pending": deployed.await_state(pending, "Crashed"), "running": deployed.await_state(running, "Crashed")}
    end_dead_runs()
    await_posts(hook, "feature of noshow: Crashed", "training of noshow: Crashed", "inference of noshow: Cancelled")
    return Killed(**ended)


@pytest.fixture(scope="module")
def ran(deployed: PrefectServer, killed: Killed, checkout: Path) -> PrefectServer:
    """The server after each deployment ran once, one after the other; only its own worker was there.

    A run of the first one waits already for the one that was killed.
    """
    for number, deployment in enumerate(SCHEDULES):
        if number:
            deployed.start(deployment)
        run_command(checkout, *worker(deployment.partition("/")[0]), "--run-once")
    return deployed


def test_each_deployment_has_a_schedule_and_a_queue_of_its_own(deployed: PrefectServer) -> None:
    """prefect.yaml makes three of them for a use case, by the schedules of its section, each for one run at a time."""
    found = deployed.deployments()
    assert SCHEDULES == {name: one["schedules"][0]["schedule"]["cron"] for name, one in found.items()}
    assert {name: name.partition("/")[0] for name in SCHEDULES} == {
        name: one["work_queue_name"] for name, one in found.items()
    }
    assert {1} == {one["global_concurrency_limit"]["limit"] for one in found.values()}
    assert {"30"} == {one["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for one in found.values()}


def test_deploying_again_leaves_the_automations_as_they_are(
    deployed: PrefectServer, hook: tuple[str, SimpleQueue[dict[str, Any]]]
) -> None:
    """They know for which runs they wait. Those runs would be waited for no more if the automations were made anew."""
    before = deployed.automations()
    assert 4 == len(before)
    end_dead_runs()
    tell_of_failures(hook[0])
    assert before == deployed.automations()


def test_deploying_says_what_was_scheduled_when_and_what_is_next(server: PrefectServer, said: list[str]) -> None:
    """A handful of lines: the server, the use case with its schedules, and the worker to start."""
    assert len(said) < 6
    assert "/api" in said[0]
    schedules = "   ".join(f"{name.partition('/')[0]} {cron}" for name, cron in SCHEDULES.items())
    assert ["noshow", *schedules.split()] == said[1].split()
    assert "prefect worker start --pool ratchet" in said[-1]
    assert "prefect.toml" not in "".join(said)  # with which this server was started


def test_a_use_case_that_there_is_not_is_a_line(server: PrefectServer, checkout: Path) -> None:
    """The selected one of this checkout has no section; the error names those that have."""
    done = run_command(checkout, "python", "-m", "flows.deploy", check=False)
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert "known are noshow" in done.stderr


def test_a_work_pool_that_is_missing_is_a_line(too_early: subprocess.CompletedProcess[str]) -> None:
    """The command that makes it is named."""
    assert (1, "", 1) == (too_early.returncode, too_early.stdout, too_early.stderr.count("\n"))
    assert "prefect work-pool create ratchet --type process" in too_early.stderr


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:9/api"])
def test_a_server_that_is_missing_is_a_line(
    server: PrefectServer, checkout: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Named or not, it has to be started."""
    monkeypatch.setenv("PREFECT_API_URL", address)
    done = run_command(checkout, "python", "-m", "flows.deploy", "noshow", check=False)
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert "prefect server start" in done.stderr


def test_what_prefect_says_of_a_failure_is_kept(deployed: PrefectServer, checkout: Path) -> None:
    """All that it printed, on both streams."""
    wrong = Schedules.model_construct(**{**dict(Schedules()), "feature": "at noon"})
    with pytest.raises(subprocess.CalledProcessError) as failure:
        deploy(run(checkout).settings.model_copy(update={"schedules": wrong}))
    assert "at noon" in failure.value.output


def test_dead_runs_are_ended_and_make_room(ran: PrefectServer, killed: Killed) -> None:
    """The next run waited, was not cancelled, and has run; no place is taken any more."""
    silence = f"{SILENCE.total_seconds():g} seconds after"
    assert f"{silence} Running or heartbeat" in killed.running["state"]["message"]
    assert f"{silence} Running or heartbeat" in killed.silent["state"]["message"]
    assert "10 seconds after Pending" in killed.pending["state"]["message"]
    assert f"{silence} Cancelling" in killed.cancelled["state"]["message"]
    assert {"COMPLETED"} == {ran.newest_run(flow)["state"]["type"] for flow in STAGES}
    assert {0} == {one["global_concurrency_limit"]["active_slots"] for one in ran.deployments().values()}


@pytest.fixture(scope="module")
def counted(server: PrefectServer) -> dict[str, Any]:
    """A run of a flow whose tasks count."""
    run_command(ROOT, "python", "-m", "tests.support.counting_flow")
    return server.newest_run("counting")


def test_progress_is_shown_from_two_seconds_on(server: PrefectServer, counted: dict[str, Any]) -> None:
    """A task that succeeds ends at 100 %, one that fails where it was; a quick one, and one that cannot, show nothing."""
    assert "COMPLETED" == counted["state"]["type"], counted["state"]["message"]
    assert [(25.0, "raw: 1 of 4"), (100.0, "raw: 31 of 31")] == sorted(server.progress(counted))


def test_progress_that_cannot_be_shown_is_a_line_in_the_log(server: PrefectServer, counted: dict[str, Any]) -> None:
    """The task goes on, and completes."""
    assert 1 == sum("no server" in line for line in server.logs(counted))


@pytest.mark.parametrize("flow", STAGES)
def test_a_run_is_named_by_flow_use_case_and_instant(ran: PrefectServer, flow: str) -> None:
    """The instant is that as of which it works: here the newest that the source holds, in UTC, to the minute."""
    assert f"{flow}-noshow-{CLOSED:%Y-%m-%dT%H:%M}" == ran.newest_run(flow)["name"]


@pytest.mark.parametrize("flow", STAGES)
def test_a_flow_runs_by_itself_and_shows_its_reports(ran: PrefectServer, flow: str) -> None:
    """It completes, with an artifact for every step and one for the data version."""
    found = ran.newest_run(flow)
    assert "COMPLETED" == found["state"]["type"], found["state"]["message"]
    assert {f"{PREFIX}-{name}" for name in (*STAGES[flow], f"{flow}-data-version")} == set(ran.artifacts(found))


def test_an_artifact_is_a_table_of_the_report(ran: PrefectServer, checkout: Path) -> None:
    """The report's values stand under dotted names."""
    report = read(run(checkout), "validate")
    assert report is not None
    shown = json.loads(ran.artifacts(ran.newest_run("feature"))[f"{PREFIX}-validate"])
    assert {"what": "rows.accepted", "value": str(report["rows"]["accepted"])} in shown


def test_the_log_has_the_headline_of_each_step(ran: PrefectServer, checkout: Path) -> None:
    """What a command prints of a step, such as a batch that was rejected, stands where the flow ran."""
    found = (read(run(checkout), name) for name in STAGES["feature"])
    headlines = {HEADLINES[name](report) for name, report in zip(STAGES["feature"], found, strict=True) if report}
    assert len(STAGES["feature"]) == len(headlines)
    assert set() == headlines - {*ran.logs(ran.newest_run("feature"))}


def test_an_artifact_has_a_row_for_each_check(ran: PrefectServer) -> None:
    """What the gate looked at can be read where the flow ran."""
    shown = json.loads(ran.artifacts(ran.newest_run("training"))[f"{PREFIX}-evaluate"])
    rows = {row["what"]: row["value"] for row in shown}
    assert "passed" == json.loads(rows["candidate.checks.leaks"])["status"]


def test_dvc_finds_the_stages_of_every_flow_clean(ran: PrefectServer, checkout: Path) -> None:
    """What the flows left is what the other driver would have left: it has nothing to run."""
    stages = [f"{stage}@noshow" for flow in STAGES.values() for stage in flow]
    assert CLEAN in run_command(checkout, "dvc", "status", *stages).stdout


def test_the_data_of_a_run_can_be_had_again(ran: PrefectServer, checkout: Path) -> None:
    """Its artifact names the data version, and a command that brings that data back exactly."""
    noshow, found = run(checkout), ran.newest_run("feature")
    before, version = contents(noshow.paths.features), directory_md5(noshow.paths.features)
    shown = ran.artifacts(found)[f"{PREFIX}-feature-data-version"]
    assert f"`{version}`" in shown
    shutil.rmtree(noshow.paths.data)
    ratchet, *arguments = shown.split("```")[1].split()
    assert "ratchet" == ratchet
    run_command(checkout, "python", "-m", "cli", *arguments)
    assert before == contents(noshow.paths.features)
    assert version == directory_md5(noshow.paths.features)


SLOW_FIT = """

fit_at_once = fit_candidate


def fit_candidate(*given):
    import pathlib
    import time

    pathlib.Path("state/fitting").touch()
    while not pathlib.Path("state/go_on").exists():
        time.sleep(0.1)
    return fit_at_once(*given)
"""


def is_kept_out(run: Run, pipeline: Pipeline) -> bool:
    """Whether a run of the use case keeps others of the pipeline out."""
    try:
        with alone(run, [pipeline], wait=0):
            return False
    except VersionError:
        return True


def test_while_one_flow_waits_or_fits_those_of_other_pipelines_go_on(ran: PrefectServer, checkout: Path) -> None:
    """It waits for its features. It keeps runs of its own pipeline out until its data are recorded, of the use case that was
    selected when it began; and what both have made is recorded as it is."""
    noshow, train = run(checkout), checkout / "training_pipeline" / "train.py"
    train.write_text(train.read_text(encoding="utf-8") + SLOW_FIT, encoding="utf-8")
    flow = checkout / "flows" / "run_pipeline.py"
    flow.write_text(flow.read_text(encoding="utf-8").replace("[10.0, 60.0]", "[1.0] * 50"), encoding="utf-8")
    commit(checkout, "Fit slowly, and try often")
    select(checkout, "noshow")
    later = CLOSED + timedelta(minutes=1)
    begin = f"from flows.training import training_pipeline as begin; begin(as_of={later.isoformat()!r})"
    with subprocess.Popen(["python", "-c", begin], cwd=checkout, env=environment()) as training:
        ran.await_task("AwaitingRetry")
        run_command(checkout, "python", "-c", begin.replace("training", "feature"))
        while not (checkout / "state" / "fitting").exists():
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended with {training.wait(0.1)} and fitted nothing")
        run_command(checkout, "python", "-m", "flows.feature")
        assert None is training.poll()
        assert [True, False, False] == [is_kept_out(noshow, pipeline) for pipeline in PIPELINES]
        select(checkout, "another")
        (checkout / "state" / "go_on").touch()
        assert 0 == training.wait()
    assert not is_kept_out(noshow, "training")
    stages = [f"{stage}@noshow" for flow in ("feature", "training") for stage in STAGES[flow]]
    assert CLEAN in run_command(checkout, "dvc", "status", *stages).stdout


def test_a_step_that_fails_fails_its_flow(
    ran: PrefectServer, checkout: Path, hook: tuple[str, SimpleQueue[dict[str, Any]]]
) -> None:
    """The state of the run has the one-line error, nothing is tried again, no version is recorded, and the webhook is told."""
    before = (checkout / "dvc.lock").read_bytes(), contents(run(checkout).paths.raw)
    write_params(checkout, rows_per_week=0)
    done = run_command(checkout, "python", "-m", "flows.feature", check=False)
    assert 0 != done.returncode
    found = ran.newest_run("feature")
    assert "FAILED" == found["state"]["type"]
    assert "batch appointments/week-000: holds no row" in found["state"]["message"]
    assert {} == ran.artifacts(found)
    assert before == ((checkout / "dvc.lock").read_bytes(), contents(run(checkout).paths.raw))
    what, why, link = await_posts(hook, found["name"])[-1].splitlines()
    assert what.startswith("feature of ")
    assert found["name"] in why
    assert "batch appointments/week-000: holds no row" in why
    assert link.endswith(f"/runs/flow-run/{found['id']}")


def test_what_cannot_be_delivered_is_logged(ran: PrefectServer) -> None:
    """The server says that the webhook refused it, goes on, and leaves the run as it ended."""
    ran.await_log("404 Not Found")
    assert ran.is_healthy()
    assert "holds no row" in ran.newest_run("feature")["state"]["message"]


def test_without_an_address_nobody_is_told(ran: PrefectServer) -> None:
    """Deployed again without the setting, the server has no automation any more."""
    before = ran.automations()
    tell_of_failures("")
    assert {"ratchet: tell of failed runs"} == before.keys() - ran.automations().keys()
