"""Batch scoring writes what the champion says of each request, once, and writes the same again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_pipeline.featurize import featurize
from inference_pipeline.batch.predict import predict
from inference_pipeline.batch.scorer import scorer
from inference_pipeline.monitor.drift import monitor
from inference_pipeline.online.example import example_request
from ratchet.core.clock import Period
from ratchet.core.errors import OtherFeaturesError, RegistryError, ReplacedError, StoreError
from ratchet.core.settings import DriftSettings
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical
from ratchet.model_registry import promotion
from ratchet.model_registry.champion import resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.trace import trace
from ratchet.project.headlines import HEADLINES
from ratchet.project.run import PeriodName, Run
from ratchet.project.step_reports import Report, run_step
from ratchet.use_case.contract import ROW_KEY, Array
from ratchet.use_case.row_key import keyed
from tests.support.accepted import accept_all
from tests.support.checkout import ROOT
from tests.support.killing import contents
from tests.support.registry import copied
from tests.support.runs import noshow_project, write_settings
from tests.support.variants import with_use_case
from tests.support.windows import at, with_end


@contextmanager
def hidden(path: Path) -> Iterator[None]:
    """The path is not there for a while."""
    aside = path.rename(path.with_name(f"{path.name}.hidden"))
    yield
    aside.rename(path)


def written(run: Run) -> dict[str, int]:
    """Prediction files → when they were last written."""
    return {str(path): path.stat().st_mtime_ns for path in run.paths.predictions.rglob("*.parquet")}


ONE_HIGHER = """

def one_higher(column):
    array = to_array(column)
    return array + 1 if array.dtype == np.float64 else array
"""


def one_higher(array: Array) -> Array:
    return array + 1 if array.dtype == np.float64 else array


def score(run: Run) -> Report:
    """Run the step, which leaves its report."""
    return run_step(run, "predict", predict)


def predict_in(code: Path, run: Run) -> None:
    """Run `predict` by the code of a folder, in a process of its own."""
    script = f"""
import dataclasses, pathlib
from inference_pipeline.batch.predict import predict
from inference_pipeline.batch.scorer import scorer
from tests.support.runs import noshow_project
run = noshow_project(pathlib.Path({str(run.root)!r}), rows_per_week=60)
assert predict(run)["rows"]
"""
    subprocess.run([sys.executable, "-B", "-c", script], cwd=code, capture_output=True, check=True)


def test_every_request_of_the_period_is_scored(serving_project: Run) -> None:
    """One log row per request, in order of time, each with what the champion says of its point-in-time features."""
    report, champion = predict(serving_project), resolve_champion(ModelRegistry.open(serving_project))
    joined = serving_project.use_case.complete(
        historical(FeatureStore.open(serving_project), serving_project.period("fresh"))
    )
    log = (
        PredictionLog.open(serving_project)
        .read(serving_project.period("fresh"))
        .sort_by([("time", "ascending"), ("request_id", "ascending")])
    )
    assert joined["request_id"].tolist() == log.column("request_id").to_pylist()
    np.testing.assert_array_equal(champion.model.predict(joined), log.column("prediction").to_numpy())
    assert (log.num_rows, log.num_rows) == (report["rows"], sum(report["dates"].values()))
    assert ("2024-07-14T14:30:00+00:00", "2024-07-31T14:30:00+00:00") == (report["from"], report["to"])
    assert {champion.version} == {report["model_version"], *log.column("model_version").to_pylist()}


def test_scoring_again_does_nothing(serving_project: Run) -> None:
    """A second run reports the same and touches no file."""
    report, before = predict(serving_project), written(serving_project)
    assert report == predict(serving_project)
    assert before == written(serving_project)


def test_other_code_scores_everything_again_beside_it(serving_project: Run, tmp_path: Path) -> None:
    """Where every number is read one higher, by a module that only others of the step import; the log keeps what was."""
    predict(serving_project)
    former = scorer(resolve_champion(ModelRegistry.open(serving_project)))
    run = copied(serving_project, tmp_path / "project")
    for room in ("ratchet", "inference_pipeline", "use_cases", "tests"):
        shutil.copytree(ROOT / room, tmp_path / "code" / room, ignore=shutil.ignore_patterns("__pycache__"))
    tables = tmp_path / "code" / "ratchet" / "storage" / "arrow.py"
    text, before = tables.read_text(encoding="utf-8"), written(run)
    tables.write_text(text.replace("return {name: to_array(column)", "return {name: one_higher(column)") + ONE_HIGHER)
    predict_in(tmp_path / "code", run)
    after = written(run)
    assert before == {path: after[path] for path in before}
    assert 2 * len(before) == len(after)
    period = run.period("fresh")
    joined = {name: one_higher(values) for name, values in historical(FeatureStore.open(run), period).items()}
    champion = resolve_champion(ModelRegistry.open(run))
    log = PredictionLog.open(run).read(period).sort_by([("time", "ascending"), ("request_id", "ascending")])
    expected = champion.model.predict(run.use_case.complete(joined))
    np.testing.assert_array_equal(expected, log.filter(pc.field("scorer") != former)["prediction"].to_numpy())
    predict(run)
    assert after == written(run)


@pytest.mark.parametrize("column", ["missed", "booked_days_ahead"])
def test_corrected_rows_change_no_prediction(serving_project: Run, tmp_path: Path, column: str) -> None:
    """What was answered is history: neither another feature nor another field of the request changes it."""
    predict(serving_project)
    run = copied(serving_project, tmp_path / "copy")

    def none(rows: pa.Table) -> pa.Table:
        return rows.set_column(rows.column_names.index(column), column, pc.multiply(rows[column], 0))

    before = written(run)
    accept_all(run, none)
    featurize(run)
    apply(FeatureStore.open(run))
    predict(run)
    assert before == written(run)


def test_late_requests_are_added_to_the_others(serving_project: Run, tmp_path: Path) -> None:
    """A row that arrives after its date was scored: it alone is scored, and those that were there stay as they are."""
    predict(serving_project)
    run = copied(serving_project, tmp_path / "copy")
    log, period = PredictionLog.open(run), run.period("fresh")
    requested = log.read(period)["request_id"].to_pylist()
    late = pa.array(requested[::5])
    shutil.rmtree(run.paths.predictions)

    def without_late(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.invert(pc.is_in(keyed(run.use_case.tables[0], rows)[ROW_KEY], value_set=late)))

    found = []
    for change in (without_late, lambda rows: rows):
        accept_all(run, change)
        featurize(run)
        apply(FeatureStore.open(run))
        assert (len(requested) - len(late) * (change is without_late)) == predict(run)["rows"]
        found.append({row["prediction_id"]: row for row in log.read(period).to_pylist()})
    first, second = found
    assert sorted(requested) == sorted(row["request_id"] for row in second.values())
    assert first == {name: second[name] for name in first}
    assert {*late.to_pylist()} == {row["request_id"] for name, row in second.items() if name not in first}


def test_a_date_that_is_lost_comes_back_as_it_was(serving_project: Run) -> None:
    """Only what is missing is computed, alone, and to the same bytes; no label is needed for it."""
    predict(serving_project)
    before = contents(serving_project.paths.predictions)
    lost, *kept = sorted(serving_project.paths.predictions.rglob("*.parquet"))
    times = {path: path.stat().st_mtime_ns for path in kept}
    lost.unlink()
    with hidden(serving_project.paths.features / "labels"):
        predict(serving_project)
    assert before == contents(serving_project.paths.predictions)
    assert times == {path: path.stat().st_mtime_ns for path in kept}


def test_another_champion_adds_its_own(serving_project: Run, tmp_path: Path) -> None:
    """Under new ids, beside those of the one before, which can still be found; after a move back nothing is left to do."""
    predict(serving_project)
    run = copied(serving_project, tmp_path / "copy")
    before, log = written(run), PredictionLog.open(run)
    ids = log.read(run.period("fresh")).column("prediction_id").to_pylist()
    promotion.rollback(ModelRegistry.open(run), by="test", reason="to see it followed")
    assert 1 == predict(run)["model_version"]
    after = written(run)
    rows = log.read(run.period("fresh"))
    assert {1: len(ids), 2: len(ids)} == Counter(rows.column("model_version").to_pylist())
    assert 2 * len(ids) == len({*rows.column("prediction_id").to_pylist()})
    assert before == {path: after[path] for path in before}
    assert 2 == trace(log, ModelRegistry.open(run), ids[0])["model"]["version"]
    promotion.promote(ModelRegistry.open(run), 2, by="test", reason="and back")
    predict(run)
    assert after == written(run)


def test_a_window_that_moves_on_keeps_what_it_leaves(serving_project: Run, tmp_path: Path) -> None:
    """A month later its predictions are no longer of the window, and are found as before."""
    predict(serving_project)
    run = copied(serving_project, tmp_path / "copy")
    before, (first, *_) = contents(run.paths.predictions), PredictionLog.open(run).read(run.period("fresh")).to_pylist()
    later = with_end(run, date(2024, 9, 1))
    for step in (accept_all, featurize, lambda run: apply(FeatureStore.open(run)), predict):
        step(later)
    after = contents(run.paths.predictions)
    assert {path: after[path] for path in before if path.endswith(".parquet")} == {
        path: content for path, content in before.items() if path.endswith(".parquet")
    }
    assert 2 == trace(PredictionLog.open(later), ModelRegistry.open(later), first["prediction_id"])["model"]["version"]


class Overtaken(Run):
    """A project in which somebody rolls back once a step has loaded the champion."""

    def period(self, name: PeriodName) -> Period:
        promotion.rollback(ModelRegistry.open(self), by="test", reason="to see it noticed")
        return super().period(name)


def test_a_promotion_meanwhile_is_noticed(serving_project: Run, tmp_path: Path) -> None:
    """What was scored by a version that no longer serves is not recorded as scored by the one that does."""
    predict(serving_project)
    run = copied(serving_project, tmp_path / "copy")
    overtaken = Overtaken(**{each.name: getattr(run, each.name) for each in fields(run)})
    with pytest.raises(ReplacedError, match="version 2: gave way"):
        predict(overtaken)
    assert 1 == predict(run)["model_version"]


def test_the_scored_window_is_monitored(serving_project: Run) -> None:
    """The drift report is about all rows that the champion scored in the fresh period, and says where its pages are."""
    rows = score(serving_project)["rows"]
    report = monitor(serving_project)
    assert (2, rows) == (report["model_version"], report["window"]["n"])
    assert report == monitor(serving_project)
    assert all((serving_project.root / report[kind]).exists() for kind in ("html", "json"))


def test_what_scored_is_monitored_whatever_serves_by_now(serving_project: Run, tmp_path: Path) -> None:
    """A promotion between the two steps changes nothing; the new champion is monitored once it has scored."""
    score(serving_project)
    run, before = copied(serving_project, tmp_path / "copy"), monitor(serving_project)
    promotion.rollback(ModelRegistry.open(run), by="test", reason="to see who is monitored")
    assert before == monitor(run)
    score(run)
    assert (1, before["window"]["n"]) == ((after := monitor(run))["model_version"], after["window"]["n"])


def test_a_trace_says_when_the_evidence_cannot_be_checked(serving_project: Run) -> None:
    """Without the public key the way back is still shown, and so is that nothing vouches for the gate record."""
    predict(serving_project)
    log = PredictionLog.open(serving_project).read(serving_project.period("fresh"))
    with hidden(serving_project.paths.shared_state / "keys" / "gate.pub"):
        record = trace(
            PredictionLog.open(serving_project),
            ModelRegistry.open(serving_project),
            log.column("prediction_id")[0].as_py(),
        )["gate_record"]
    assert not record["verified"]
    assert "there is no public key" in record["objection"]


def test_the_command_fails_where_the_evidence_cannot_be_checked(serving_project: Run) -> None:
    """It shows the way all the same, and says in one line what is not to be relied on, and why."""
    predict(serving_project)
    log = PredictionLog.open(serving_project).read(serving_project.period("fresh"))
    write_settings(serving_project.root, serving_project)
    command = [sys.executable, "-m", "cli", "trace", log.column("prediction_id")[0].as_py()]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    with hidden(serving_project.paths.shared_state / "keys" / "gate.pub"):
        done = subprocess.run(
            command, cwd=serving_project.root, env=environment, capture_output=True, text=True, check=False
        )
    assert (1, 2) == (done.returncode, json.loads(done.stdout)["model"]["version"])
    (line,) = done.stderr.splitlines()
    assert re.search(r"version 2: .*verified.*no public key", line)


def test_a_trace_needs_the_model_that_answered(serving_project: Run, unserved: Run) -> None:
    """In a registry that never held the model the version's number leads nowhere, and the error says so."""
    predict(serving_project)
    log = PredictionLog.open(serving_project).read(serving_project.period("fresh"))
    unserved.paths.predictions.parent.mkdir(parents=True)
    unserved.paths.predictions.symlink_to(serving_project.paths.predictions)
    with pytest.raises(RegistryError, match="holds no model"):
        trace(PredictionLog.open(unserved), ModelRegistry.open(unserved), log.column("prediction_id")[0].as_py())


def test_a_model_of_other_features_is_refused(serving_project: Run) -> None:
    """A champion that was trained on features which this code does not compute scores nothing, and the error says so."""
    before = written(serving_project)
    inputs = {name: kind for name, kind in serving_project.use_case.inputs.items() if name != "hour"}
    with pytest.raises(OtherFeaturesError, match=r"noshow_.*, .*noshow_"):
        predict(with_use_case(serving_project, inputs=inputs))
    assert before == written(serving_project)


def test_without_a_model_nothing_is_scored(unserved: Run) -> None:
    """An empty registry is an error that says what to do, and without predictions there is nothing to monitor."""
    with pytest.raises(RegistryError, match=r"promoted.*`dvc repro monitor@"):
        predict(unserved)
    with pytest.raises(StoreError, match="`dvc repro monitor@"):
        monitor(unserved)


def test_there_is_no_example_before_there_are_predictions(tmp_path: Path) -> None:
    """Without a scored request there is nothing to show."""
    with pytest.raises(StoreError, match=r"fresh period.*`ratchet stage predict`"):
        example_request(noshow_project(tmp_path))


@pytest.mark.parametrize(("days", "most"), [(200, 0), (0, 10**6)])
def test_a_window_with_too_few_predictions_is_not_judged(serving_project: Run, days: int, most: int) -> None:
    """After an outage there may be none at all. The step goes on, and its pages say why; they are not those of before."""
    rows = score(serving_project)["rows"]
    monitor(serving_project)
    needs_more = serving_project.with_settings(drift=DriftSettings(min_rows=most + 1, reference_rows=most + 100))
    found = monitor(at(needs_more, serving_project.as_of("inference") + timedelta(days=days)))
    assert min(rows, most) == found["window"]["n"]
    assert ("not judged", {}, None) == (found["verdict"], found["columns"], found["share"])
    assert f"{found['window']['n']} predictions" in HEADLINES["monitor"](found)
    for page in (found["html"], found["json"]):
        assert "not judged" in (serving_project.root / page).read_text(encoding="utf-8")
