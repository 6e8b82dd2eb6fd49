"""From a CSV file to a model that serves: what `ratchet init` wrote, through the pipelines as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from authoring.check import check
from authoring.init.answers import Answers
from inference_pipeline.online.example import example_request
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.trace import trace
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.project.steps import STEPS
from tests.support.begun import BEGUN, begun, notes_of, project_of
from tests.support.checkout import ROOT
from tests.support.csv_files import checkout, rides, write_csv
from tests.support.messages import missing
from tests.support.releases import answer
from tests.support.rows import places
from tests.support.runs import committed

SERVED = ("rides", "visits", "subscribers")
"""Those of BEGUN that are taken all the way to a model that serves."""

Columns = dict[str, list[str]]
AS_TEXT = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(("asked_at", "ended_at"), pa.string()))


def begin(root: Path, name: str) -> None:
    make, answers = BEGUN[name]
    begun(root, name, make(root / "data.csv"), answers)


def run_steps(run: Run) -> dict[str, Any]:
    """Every step, in order and from a clean commit; what each reported."""
    committed(run.root)
    return {name: run_step(run, name, step.load()) for name, step in STEPS.items()}


def answered(run: Run) -> tuple[int, dict[str, Any]]:
    """Which version would answer the request that the service is tried with, and the way back from that answer."""
    (row,) = answer(run, json.dumps(example_request(run)).encode()).rows
    return row.model_version, trace(PredictionLog.open(run), ModelRegistry.open(run), row.id)


@pytest.mark.parametrize("name", SERVED)
def test_a_candidate_serves(name: str, tmp_path: Path) -> None:
    """From ingest to monitor without an edit: the candidate beats the baseline, its refit serves, and an answer can be followed
    back.

    Where there is no time, the gate record says so.
    """
    begin(checkout(tmp_path), name)
    with project_of(tmp_path, name) as run:
        reports = run_steps(run)
        verdicts = {model: reports["evaluate"][model]["verdict"] for model in ("baseline", "candidate")}
        version, way_back = answered(run)
    assert {"baseline": "superior", "candidate": "superior"} == verdicts
    checks = {check["name"]: check for check in reports["evaluate"]["candidate"]["checks"]}
    assert (name == "subscribers") == ("no time evidence" in checks.get("time", {"detail": ""})["detail"])
    assert ("served", "serving") == tuple(reports["register"][name]["status"] for name in ("candidate", "refit"))
    assert 3 == version == way_back["model"]["version"]
    evidence = way_back["gate_record"]
    assert [("passed", True), ("superior", True)] == [
        (each["verdict"], each["verified"]) for each in (evidence, evidence["judged"])
    ]
    assert "no drift" == reports["monitor"]["verdict"]


@pytest.mark.parametrize(
    "dirt",
    [
        pytest.param(
            lambda rows: {**rows, "ended_at": [*rows["asked_at"][:90], *rows["ended_at"][90:]]}, id="known early"
        ),
        pytest.param(lambda rows: {**rows, "ended_at": ["9999-12-31", *rows["ended_at"][1:]]}, id="known never"),
        pytest.param(lambda rows: {"rows" if name == "zone" else name: rows[name] for name in rows}, id="rows"),
        pytest.param(lambda rows: {"self" if name == "bike" else name: rows[name] for name in rows}, id="self"),
    ],
)
def test_what_is_written_of_a_dirty_file_is_right(dirt: Callable[[Columns], Columns], tmp_path: Path) -> None:
    """`ratchet check` finds nothing in it: rows that a rule quarantines are no mistake of the use case, nor is a name."""
    rows = dirt(pyarrow.csv.read_csv(rides(tmp_path / "clean.csv"), convert_options=AS_TEXT).to_pydict())
    answers = BEGUN["rides"][1]
    entity = tuple("rows" if "rows" in rows else name for name in answers.entity)
    begun(checkout(tmp_path), "dirty", write_csv(tmp_path / "data.csv", {**rows}), replace(answers, entity=entity))
    with project_of(tmp_path, "dirty") as run:
        assert [] == check(run)


def noise(path: Path, seed: int) -> Path:
    """Of 300 machines by number what they make, which follows from nothing."""
    rng, rows = np.random.default_rng(seed), 3000
    asked = np.datetime64("2024-01-01", "m") + np.sort(rng.integers(0, 150 * 24 * 60, rows))
    times = {"asked_at": np.datetime_as_string(asked), "done_at": np.datetime_as_string(asked + 90)}
    machine, made = rng.integers(0, 300, rows), rng.normal(0, 2, rows).round(2)
    return write_csv(path, {"id": np.arange(rows), **times, "machine": machine, "made": made})


@pytest.mark.parametrize(("seed", "by"), [(1, "weekday"), (2, "machine_band")])
def test_init_and_check_agree_on_a_baseline_of_chance(seed: int, by: str, tmp_path: Path) -> None:
    """Both say that it explains nothing, whether it groups by columns or by the bands of a number."""
    answers = Answers(label="made", time="asked_at", known_at="done_at", timezone="UTC", entity=("machine",))
    said = begun(checkout(tmp_path), "noise", noise(tmp_path / "data.csv", seed), answers)
    with project_of(tmp_path, "noise") as run:
        found = [finding.what for finding in check(run)]
    assert [[]] == [missing(note, by, "made") for note in notes_of(said) if "chance" in note]
    assert ["baseline-explains-nothing"] == found


def labels(run: Run) -> tuple[dict[str, int], set[str], set[str]]:
    """Rows by where validate put them, the requests, and those of them with a label, after the feature pipeline."""
    reports = {name: STEPS[name].load()(run) for name in ("ingest", "validate", "featurize")}
    found = [pq.read_table(run.paths.features / table)["request_id"].to_pylist() for table in ("requests", "labels")]
    return reports["validate"]["rows"], set(found[0]), set(found[1])


@pytest.mark.parametrize("pending", [range(0, 3000, 20), range(2700, 3000)], ids=["scattered", "newest"])
def test_outcomes_that_are_not_known_yet_are_waited_for(tmp_path: Path, pending: range) -> None:
    """Rows without outcome are accepted as requests without a label; delivered again with it, the same requests have one."""
    rows = pyarrow.csv.read_csv(rides(tmp_path / "clean.csv"), convert_options=AS_TEXT)
    is_pending = pa.array([number in pending for number in range(len(rows))])
    unknown = {name: pc.if_else(is_pending, None, rows[name]) for name in ("ended_at", "minutes", "fare")}
    csv = write_csv(tmp_path / "data.csv", {**rows.to_pydict(), **unknown})
    begun(checkout(tmp_path), "waiting", csv, BEGUN["rides"][1])
    with project_of(tmp_path, "waiting") as run:
        assert [] == check(run)
        accepted, requests, labelled = labels(run)
        write_csv(csv, rows.to_pydict())
        later = labels(run)
        place = {key: int(name[-8:]) for key, name in places(run.paths.data, run.use_case.tables[0]).items()}
    assert (accepted, requests, requests) == later
    waiting = {place[request] for request in requests - labelled}
    assert {number for number in pending if number >= min(waiting)} == waiting
    assert len(rows) - 1 in {place[request] for request in requests}


def test_what_is_written_is_strictly_typed(tmp_path: Path) -> None:
    """mypy finds nothing in it, by the house's settings."""
    for name in SERVED:
        begin(tmp_path if (tmp_path / "params.yaml").exists() else checkout(tmp_path), name)
    (tmp_path / "use_cases" / "__init__.py").touch()
    paths = map(str, (tmp_path / "use_cases").rglob("*.py"))
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
