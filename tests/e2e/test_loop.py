"""The whole loop by `dvc repro`, on the second use case, through the pipelines as they are."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from ratchet.models.metrics import METRICS
from ratchet.project.steps import STEPS
from tests.support.checkout import commit, noshow_checkout, run_command, write_params
from tests.support.messages import missing
from tests.support.noshow import use_case
from tests.support.rows import accepted_places, raw_places

MODEL = "noshow-clinic"
ONE_PROCESS = """
import sys
from pathlib import Path
from ratchet.project.steps import STEPS
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
for name in sys.argv[1:]:
    reports.run_step(Run.load(Path(), "noshow"), name, STEPS[name].load())
"""
ROLL_BACK_AND_RELEASE = """
from pathlib import Path
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import release, rollback
from ratchet.project.run import Run
registry = ModelRegistry.open(Run.load(Path(), "noshow"))
rollback(registry, by="ann", reason="slow")
release(registry, by="ann", reason="fixed")
"""


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `dvc repro` has run once."""
    checkout = noshow_checkout(tmp_path_factory.mktemp("loop"))
    run_command(checkout, "dvc", "repro")
    return checkout


@pytest.fixture
def copy(loop: Path, tmp_path: Path) -> Path:
    """A copy of that checkout, in another folder, to be changed by one test. Data and DVC's cache, which are replaced and never
    changed, share their bytes with it."""

    def copy(source: str, target: str) -> None:
        shared = {"data", "cache"} & {*Path(source).relative_to(loop).parts[:2]}
        (os.link if shared else shutil.copy2)(source, target)

    return Path(shutil.copytree(loop, tmp_path / "copy", symlinks=True, copy_function=copy))


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, and its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run_steps(checkout: Path, *names: str) -> None:
    """Run steps in one process: each of its own imports libraries for seconds."""
    run_command(checkout, "python", "-c", ONE_PROCESS, *names)


def report(checkout: Path, step: str) -> dict[str, Any]:
    found = json.loads((checkout / "reports" / "noshow" / "clinic" / f"{step}.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def model_versions(checkout: Path) -> set[int]:
    """Which versions made the batch predictions."""
    paths = (checkout / "data" / "noshow" / "clinic" / "predictions").rglob("*.parquet")
    return {version for path in paths for version in pq.read_table(path)["model_version"].to_pylist()}


def test_lightgbm_takes_the_baseline_s_place_on_evidence(loop: Path) -> None:
    """The baseline is version 1; the candidate beats it, serves as version 2 and makes the predictions."""
    client = MlflowClient(f"sqlite:///{loop}/state/mlflow.db")
    assert client.get_model_version(MODEL, "1").tags["ratchet.kind"] == "baseline"
    assert int(client.get_model_version_by_alias(MODEL, "champion").version) == 2
    assert int(client.get_model_version_by_alias(MODEL, "previous").version) == 1
    assert model_versions(loop) == {2}


def test_no_raw_row_is_lost(loop: Path) -> None:
    """Every raw row is, by its id, in one of the files of accepted and quarantined ones, and the report counts them."""
    data = loop / "data" / "noshow" / "clinic"
    raw, quarantined = raw_places(data / "raw"), raw_places(data / "quarantine")
    rows = report(loop, "validate")["rows"]
    assert rows["quarantined"] > 0
    kept = accepted_places(data, use_case.tables)
    assert raw == sorted([*kept, *quarantined])
    assert (rows["raw"], rows["accepted"]) == (len(raw), len(kept))
    assert rows["quarantined"] + rows["duplicates"] == len(quarantined)


def test_the_summary_has_its_keys(loop: Path) -> None:
    """`ratchet summary` writes reports/summary.json with the keys that others rely on."""
    run_command(loop, "python", "-m", "cli", "summary")
    summary = json.loads((loop / "reports" / "summary.json").read_text(encoding="utf-8"))
    assert {"raw", "accepted", "quarantined"} <= summary["rows"].keys()
    keys = {"log_loss", "auc", "brier", "calibration_error", "n", "from", "to"}
    assert all(keys == summary["holdout"][role].keys() for role in summary["holdout"])
    assert summary["holdout"].keys() == {"baseline", "candidate", "champion", "serving"}
    assert summary["gate"]["verdict"] == "superior"
    assert summary["gate"]["checks"]
    assert summary["drift"]["verdict"] == report(loop, "monitor")["verdict"]
    assert {"ingest", "train", "monitor"} <= summary["seconds"].keys()


def test_a_second_run_changes_nothing(loop: Path) -> None:
    """With nothing to do, `dvc repro` runs the sensors alone, and leaves data, reports and dvc.lock as they are."""
    before = content(loop / "data"), content(loop / "reports"), (loop / "dvc.lock").read_bytes()
    lines = run_command(loop, "dvc", "repro").stdout.splitlines()
    assert before == (content(loop / "data"), content(loop / "reports"), (loop / "dvc.lock").read_bytes())
    assert ["Running stage 'sensors/dvc.yaml:sensors':"] == [line for line in lines if line.startswith("Running")]


def test_a_user_of_dvc_finds_metrics(loop: Path) -> None:
    """`dvc metrics show` has the models' figures on the holdout, the verdict and the drift, as the reports have them."""
    shown = json.loads(run_command(loop, "dvc", "metrics", "show", "--json").stdout)[""]["data"]
    holdout, drift = (shown[f"reports/noshow/clinic/metrics/{name}.json"]["data"] for name in ("holdout", "drift"))
    evaluated, monitored = report(loop, "evaluate"), report(loop, "monitor")
    for role in ("baseline", "candidate", "champion"):
        figures = evaluated[role]["metrics"]
        assert {name: figures[name] for name in METRICS["binary"]} == holdout[role]
    assert (evaluated["candidate"]["skill"], "superior") == (holdout["skill"], holdout["verdict"])
    assert (monitored["verdict"], monitored["share"]) == (drift["drift"], drift["drift_share"])


def test_a_user_of_dvc_finds_plots(loop: Path) -> None:
    """`dvc plots show` writes a page with every picture of the training, which loads nothing from elsewhere."""
    page = run_command(loop, "dvc", "plots", "show").stdout.strip().removeprefix("file://")
    html = Path(page).read_text(encoding="utf-8")
    names = ("early_stopping", "importance", "precision_recall", "reliability", "roc")
    assert all(f"{name}.png" in html for name in names)
    images = re.findall(r'<img[^>]*src="([^"]+)"', html)
    assert len(names) == len(images)
    assert all((Path(page).parent / image).exists() for image in images)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    assert "" == run_command(loop, "git", "status", "--porcelain", "--", "dvc_plots").stdout


def test_an_experiment_shows_parameters_and_metrics(loop: Path) -> None:
    """`dvc exp show` has what people compare experiments by in its columns."""
    rows = list(csv.DictReader(io.StringIO(run_command(loop, "dvc", "exp", "show", "--csv").stdout)))
    assert str(report(loop, "evaluate")["candidate"]["skill"]) == rows[0]["skill"]
    assert str(report(loop, "monitor")["share"]) == rows[0]["drift_share"]
    assert {"candidate.log_loss", "baseline.auc", "verdict", "use_cases.noshow.training.seed"} <= rows[0].keys()


def test_a_prediction_leads_back_to_data_and_commit(loop: Path) -> None:
    """`ratchet trace` names the data version that dvc.lock has, the commit, and a verified gate record."""
    path = next((loop / "data" / "noshow" / "clinic" / "predictions").rglob("*.parquet"))
    prediction_id = pq.read_table(path)["prediction_id"][0].as_py()
    traced = run_command(loop, "python", "-m", "cli", "trace", prediction_id).stdout
    lock = (loop / "dvc.lock").read_text(encoding="utf-8")
    version = lock.split("path: data/noshow/clinic/features\n")[1].split("md5: ")[1].split("\n")[0]
    assert version in traced
    assert run_command(loop, "git", "rev-parse", "HEAD").stdout.strip() in traced


def test_a_promotion_in_mlflow_is_scored_by_the_next_run(copy: Path) -> None:
    """After somebody moved the alias `requested`, `dvc repro` scores the fresh window with that version."""
    client = MlflowClient(f"sqlite:///{copy}/state/mlflow.db")
    client.set_registered_model_alias(MODEL, "requested", "1")
    run_command(copy, "dvc", "repro", "predict@noshow")
    assert int(client.get_model_version_by_alias(MODEL, "champion").version) == 1
    assert model_versions(copy) == {1, 2}
    assert report(copy, "predict")["model_version"] == 1


def test_an_experiment_never_serves_by_policy(copy: Path) -> None:
    """`dvc exp run` trains a model that beats what serves: it is registered under the experiment's name, and waits."""
    run_command(copy, "python", "-c", ROLL_BACK_AND_RELEASE)
    setting = "use_cases.noshow.training.lightgbm.learning_rate=0.2"
    run_command(copy, "dvc", "exp", "run", "--name", "faster", "--set-param", setting, "train@noshow")
    run_steps(copy, "evaluate", "register")
    assert report(copy, "evaluate")["candidate"]["verdict"] == "superior"
    assert [] == missing(report(copy, "register")["candidate"]["status"], "waits for a person", "faster")
    client = MlflowClient(f"sqlite:///{copy}/state/mlflow.db")
    assert int(client.get_model_version_by_alias(MODEL, "champion").version) == 1


def test_a_registered_model_that_was_deleted_is_registered_again(copy: Path) -> None:
    """Deleted in MLflow, it comes back by the next run, and serves and predicts as before."""
    client = MlflowClient(f"sqlite:///{copy}/state/mlflow.db")
    client.delete_registered_model(MODEL)
    run_command(copy, "dvc", "repro", "predict@noshow")
    assert int(client.get_model_version_by_alias(MODEL, "champion").version) == 2
    assert model_versions(copy) == {2}


def test_the_demo_has_a_line_for_each_step_that_ran(copy: Path) -> None:
    """A step with something to do has one line, the others are named as up to date, and of DVC and MLflow nothing is seen."""
    (copy / "reports" / "noshow" / "clinic" / "ingest.json").unlink()
    done = run_command(copy, "python", "-m", "cli.commands.demo")
    lines = done.stdout.splitlines()
    story = lines[: lines.index("")]
    assert ["ingest", "worse", "drifted"] == [line.split()[0] for line in story if line.endswith(" s)")]
    idle = next(line for line in story if line.startswith("Nothing to do"))
    assert all((step in idle) == (step != "ingest") for step in STEPS)
    assert 5 == len(story)
    assert {line.split()[0] for line in done.stderr.splitlines()} <= {*STEPS, "worse", "drifted"}  # progress, if any


def test_a_step_that_fails_in_the_demo_is_shown_in_full(copy: Path) -> None:
    """Its own error and DVC's stand on stderr, and it fails."""
    write_params(copy, rows_per_week=0)
    done = run_command(copy, "python", "-m", "cli.commands.demo", check=False)
    assert 0 != done.returncode
    assert [] == missing(done.stderr, "ratchet: batch appointments/week-000", "no row")
    assert "failed to reproduce 'ingest@noshow'" in done.stderr
    assert 1 == len(done.stdout.splitlines())


def test_after_a_change_of_features_the_champion_is_judged_by_its_own_code(copy: Path) -> None:
    """Nothing of the champion's columns is left, and it scores what it did as a candidate; the new one has a gain over it."""
    before, features = report(copy, "evaluate"), copy / "use_cases" / "noshow" / "__init__.py"
    features.write_text(features.read_text(encoding="utf-8").replace("56", "28"), encoding="utf-8")
    commit(copy, "Look back half as far, and call it so")
    run_steps(copy, *itertools.takewhile(lambda name: name != "register", STEPS))
    after = report(copy, "evaluate")
    assert before["candidate"]["digest"] == after["champion"]["digest"] != after["candidate"]["digest"]
    assert before["candidate"]["metrics"] == pytest.approx(after["champion"]["metrics"], abs=1e-12)
    gain = after["candidate"]["gain"]
    assert gain["lower"] <= gain["value"] <= gain["upper"]
    checks = {check["name"]: check for check in after["candidate"]["checks"]}
    assert ("passed", "invalid ones") == (
        checks["predictions:champion"]["status"],
        checks["predictions:champion"]["detail"],
    )
    assert 1 == len(run_command(copy, "git", "worktree", "list").stdout.splitlines())


def test_data_travel_by_a_remote(loop: Path, tmp_path: Path) -> None:
    """What was pushed can be pulled into a fresh clone, which then makes its own stores and the same predictions."""
    run_command(loop, "dvc", "push")
    clone = tmp_path / "clone"
    run_command(tmp_path, "git", "clone", "--quiet", str(loop), str(clone))
    shutil.copy2(loop / "dvc.lock", clone / "dvc.lock")
    run_command(clone, "dvc", "remote", "modify", "--local", "local", "url", str(loop / "state" / "dvc-remote"))
    run_command(clone, "dvc", "pull", "--allow-missing")
    assert content(clone / "data" / "noshow" / "clinic" / "features") == content(
        loop / "data" / "noshow" / "clinic" / "features"
    )
