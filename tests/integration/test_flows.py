"""Three flows on a real Prefect server: each in a process of its own while the other two are stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from ratchet.errors import VersionError
from ratchet.project import Project
from ratchet.reports import read
from ratchet.tables import atomic
from ratchet.versions import alone, data_version
from tests.support.checkout import environment, noshow_checkout, run, write_params
from tests.support.killing import contents
from tests.support.prefect_server import PrefectServer, prefect_server

STAGES = {
    "feature": ["ingest", "validate", "featurize", "materialize"],
    "training": ["train", "evaluate", "register", "reconcile"],
    "inference": ["reconcile", "predict", "monitor"],
}
SCHEDULES = {"feature/noshow": "5 * * * *", "training/noshow": "0 3 * * 1", "inference/noshow": "20 * * * *"}
PREFIX = "noshow-clinic"
CLEAN = "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the second use case, which trains weekly and is not the selected one."""
    checkout = noshow_checkout(tmp_path_factory.mktemp("checkout"))
    params = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    params["use_cases"]["noshow"]["schedules"]["training"] = SCHEDULES["training/noshow"]
    (checkout / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    select(checkout, "another")
    return checkout


def select(checkout: Path, use_case: str) -> None:
    """Let params.yaml select a use case."""
    params = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    with atomic(checkout / "params.yaml") as temporary:
        temporary.write_text(yaml.safe_dump({**params, "use_case": use_case}), encoding="utf-8")


def project(checkout: Path) -> Project:
    return Project.load(checkout, "noshow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server that this process and its children find in their environment."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as (server, found), pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def deployed(server: PrefectServer, checkout: Path) -> PrefectServer:
    """The server after what prefect.yaml says to do."""
    run(checkout, "prefect", "work-pool", "create", "ratchet", "--type", "process")
    run(checkout, "python", "-m", "flows.deploy")
    return server


@pytest.fixture(scope="module")
def ran(deployed: PrefectServer, checkout: Path) -> PrefectServer:
    """The server after each deployment ran once, one after the other; only its own worker was there."""
    deployed.pause()
    for deployment in SCHEDULES:
        deployed.start(deployment)
        queue = deployment.partition("/")[0]
        run(checkout, "prefect", "worker", "start", "--pool", "ratchet", "--work-queue", queue, "--run-once")
    return deployed


def test_each_deployment_has_a_schedule_and_a_queue_of_its_own(deployed: PrefectServer) -> None:
    """prefect.yaml makes three of them for a use case, by the schedules of its section, each for one run at a time."""
    found = deployed.deployments()
    assert SCHEDULES == {name: one["schedules"][0]["schedule"]["cron"] for name, one in found.items()}
    assert {name: name.partition("/")[0] for name in SCHEDULES} == {
        name: one["work_queue_name"] for name, one in found.items()
    }
    assert {1} == {one["global_concurrency_limit"]["limit"] for one in found.values()}


@pytest.mark.parametrize("flow", STAGES)
def test_a_flow_runs_by_itself_and_shows_its_reports(ran: PrefectServer, flow: str) -> None:
    """It completes, with an artifact for every step and one for the data version."""
    found = ran.newest_run(flow)
    assert "COMPLETED" == found["state"]["type"], found["state"]["message"]
    assert {f"{PREFIX}-{name}" for name in (*STAGES[flow], f"{flow}-data-version")} == set(ran.artifacts(found))


def test_an_artifact_is_a_table_of_the_report(ran: PrefectServer, checkout: Path) -> None:
    """The report's values stand under dotted names."""
    report = read(project(checkout), "validate")
    assert report is not None
    shown = json.loads(ran.artifacts(ran.newest_run("feature"))[f"{PREFIX}-validate"])
    assert {"what": "rows.accepted", "value": str(report["rows"]["accepted"])} in shown


def test_an_artifact_has_a_row_for_each_check(ran: PrefectServer) -> None:
    """What the gate looked at can be read where the flow ran."""
    shown = json.loads(ran.artifacts(ran.newest_run("training"))[f"{PREFIX}-evaluate"])
    rows = {row["what"]: row["value"] for row in shown}
    assert "passed" == json.loads(rows["candidate.checks.leaks"])["status"]


def test_dvc_finds_the_stages_of_every_flow_clean(ran: PrefectServer, checkout: Path) -> None:
    """What the flows left is what the other driver would have left: it has nothing to run."""
    stages = [f"{stage}@noshow" for flow in STAGES.values() for stage in flow]
    assert CLEAN in run(checkout, "dvc", "status", *stages).stdout


def test_the_data_of_a_run_can_be_had_again(ran: PrefectServer, checkout: Path) -> None:
    """Its artifact names the data version, and a command that brings that data back exactly."""
    noshow, found = project(checkout), ran.newest_run("feature")
    before, version = contents(noshow.features), data_version(noshow)
    shown = ran.artifacts(found)[f"{PREFIX}-feature-data-version"]
    assert f"`{version}`" in shown
    shutil.rmtree(noshow.data)
    ratchet, *arguments = shown.split("```")[1].split()
    assert "ratchet" == ratchet
    run(checkout, "python", "-m", "cli", *arguments)
    assert before == contents(noshow.features)
    assert version == data_version(noshow)


def is_at_work(project: Project) -> bool:
    """Whether a run of the use case keeps others out."""
    try:
        with alone(project, wait=0):
            return False
    except VersionError:
        return True


def test_a_flow_keeps_others_out_while_it_runs(ran: PrefectServer, checkout: Path) -> None:
    """From its first step until its data are recorded; then whoever waited may go on."""
    noshow = project(checkout)
    inference = "from flows.inference import inference_pipeline; inference_pipeline('noshow')"
    with subprocess.Popen(["python", "-c", inference], cwd=checkout, env=environment()) as flow:
        while not is_at_work(noshow):
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended with {flow.wait(0.1)} and kept nobody out")
        assert 0 == flow.wait()
    assert not is_at_work(noshow)
    assert CLEAN in run(checkout, "dvc", "status", *(f"{stage}@noshow" for stage in STAGES["inference"])).stdout


def test_a_flow_stays_with_its_use_case(ran: PrefectServer, checkout: Path) -> None:
    """One without parameter speaks to its end of the use case that was selected when it began."""
    select(checkout, "noshow")
    with subprocess.Popen(["python", "-m", "flows.inference"], cwd=checkout, env=environment()) as flow:
        while flow.poll() is None and not is_at_work(project(checkout)):
            pass
        select(checkout, "another")
    assert 0 == flow.returncode


def test_a_step_that_fails_fails_its_flow(ran: PrefectServer, checkout: Path) -> None:
    """The state of the run has the one-line error, nothing is tried again, and no version is recorded."""
    before = (checkout / "dvc.lock").read_bytes(), contents(project(checkout).raw)
    write_params(checkout, rows_per_week=0)
    done = run(checkout, "python", "-m", "flows.feature", check=False)
    assert 0 != done.returncode
    found = ran.newest_run("feature")
    assert "FAILED" == found["state"]["type"]
    assert "delivery appointments/week-000: holds no row" in found["state"]["message"]
    assert {} == ran.artifacts(found)
    assert before == ((checkout / "dvc.lock").read_bytes(), contents(project(checkout).raw))
