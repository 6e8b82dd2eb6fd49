"""The use cases of the repository end to end, each through every step of the pipelines as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_pipeline.materialize import materialize
from inference_pipeline.online.instances import REQUESTS, VECTORS
from inference_pipeline.online.requests import RequestReader, column_kinds
from ratchet.core.clock import Period
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical
from ratchet.features.service import request_schema
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.champion import Champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.compiled.golden import golden_rows
from ratchet.models.model_files import REFERENCE
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.project.steps import STEPS
from ratchet.storage.partitions import files
from ratchet.use_case.contract import Array
from tests.support.cases import CHURN, DEMAND, case_project
from tests.support.online_reads import read_online
from tests.support.releases import predicting
from tests.support.runs import committed
from tests.support.transports import TRANSPORTS
from tests.support.windows import at


@dataclass(frozen=True)
class Case:
    """A project in which every step has run, what each reported, and a timestamp of the fresh period with requests."""

    run: Run
    reports: Mapping[str, Any]
    timestamp: datetime


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("churn", CHURN, datetime(2024, 2, 15, 11, tzinfo=UTC)), id="churn"),
        pytest.param(("demand", DEMAND, datetime(2024, 4, 23, 15, tzinfo=UTC)), id="demand"),
    ],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, days, timestamp = request.param
    run = case_project(committed(tmp_path_factory.mktemp(name)), name, days)
    return Case(run, {name: run_step(run, name, step.load()) for name, step in STEPS.items()}, timestamp)


def test_the_candidate_beats_the_baseline_and_its_refit_serves(case: Case) -> None:
    """On evidence: it is superior, without a leak; and what makes the batch predictions behaves like it."""
    candidate = case.reports["evaluate"]["candidate"]
    assert "superior" == candidate["verdict"]
    assert [0.0] == [check["value"] for check in candidate["checks"] if check["name"] == "leaks"]
    assert candidate["metrics"]["n"] >= 1000
    assert "passed" == case.reports["refit"]["refit"]["verdict"]
    assert (3, "serving") == tuple(case.reports["register"]["refit"][key] for key in ("version", "status"))
    assert 3 == case.reports["reconcile"]["champion"]["version"] == case.reports["predict"]["model_version"]


def test_every_request_of_the_fresh_period_is_in_the_log(case: Case) -> None:
    """And what the champion was given does not drift."""
    period = case.run.period("fresh")
    log = PredictionLog.open(case.run).read(period).to_pylist()
    expected = historical(FeatureStore.open(case.run), period)["request_id"].tolist()
    assert sorted(expected) == sorted(row["request_id"] for row in log if row["request_id"])
    assert len(expected) == case.reports["predict"]["rows"]
    assert ("no drift", len(expected)) == (
        case.reports["monitor"]["verdict"],
        case.reports["monitor"]["window"]["n"],
    )


def test_online_answers_as_batch_did(case: Case) -> None:
    """Asked at a timestamp of which there are requests: the same features, and the same predictions, in each protocol."""
    run = at(case.run, case.timestamp)
    materialize(run)
    instances = _instances(run, case.timestamp)
    requests = RequestReader(run.use_case, column_kinds(request_schema(run.use_case)))
    asked = requests.read_json(json.dumps({"instances": instances}).encode()).columns
    joined = historical(FeatureStore.open(run), Period(case.timestamp, case.timestamp + timedelta(microseconds=1)))
    assert len(asked["event_timestamp"]) > 5
    for name, values in read_online(run, asked).items():
        np.testing.assert_array_equal(joined[name], values, err_msg=name)
    expected = _predictions(case.run, joined["request_id"])
    with predicting(run) as predictor:
        found = {name: ask(predictor, REQUESTS, instances) for name, ask in TRANSPORTS.items()}
        alone = [TRANSPORTS["v1"](predictor, REQUESTS, [each])[0] for each in instances]
    assert {**dict.fromkeys(TRANSPORTS, expected), "alone": expected} == {**found, "alone": alone}


def test_a_ready_vector_gets_what_the_model_itself_says(case: Case) -> None:
    """In each protocol, bit for bit: 10,000 rows whose inputs are mixed from real ones, missing, unseen, tiny or huge; some of
    them alone, too.
    """
    champion = load_champion(ModelRegistry.open(case.run))
    columns = mixed_inputs(champion, 10_000)
    expected = champion.model.predict(columns).tolist()
    names = [*champion.model.contract.inputs]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(plain(columns[name]) for name in names), strict=True)]
    with predicting(case.run) as predictor:
        for name, ask in TRANSPORTS.items():
            parts = [ask(predictor, VECTORS, rows[start : start + 1000]) for start in range(0, len(rows), 1000)]
            assert expected == [value for part in parts for value in part], name
            assert expected[:200] == [ask(predictor, VECTORS, [row])[0] for row in rows[:200]], name


def mixed_inputs(champion: Champion, count: int) -> dict[str, Array]:
    """Each input drawn on its own from its golden rows, without what is not finite, which no caller may send."""
    chance = np.random.default_rng(5)
    golden = golden_rows(pq.read_table(champion.directory / REFERENCE), champion.model.contract.inputs)
    return {name: chance.choice(_finite(column), count) for name, column in golden.items()}


def _finite(column: Array) -> Array:
    return column if column.dtype == object else np.where(np.isinf(column), 1e308, column)


def plain(column: Array) -> list[Any]:
    """Values as a caller sends them."""
    return [None if value != value else value for value in column.tolist()]


def _instances(run: Run, timestamp: datetime) -> list[dict[str, Any]]:
    """What a caller would send for the stored requests of a timestamp, in the order of their ids."""
    use_case = run.use_case
    rows = pq.read_table(files(run.paths.features / "requests", timestamp.date(), timestamp.date()), partitioning=None)
    asked = sorted(
        (row for row in rows.to_pylist() if row["event_timestamp"] == timestamp), key=lambda row: str(row["request_id"])
    )
    return [
        {
            **{name: row[name] for name in use_case.request_fields()},
            use_case.event_timestamp: timestamp.isoformat(),
        }
        for row in asked
    ]


def _predictions(run: Run, request_ids: Array) -> list[float]:
    """What batch predicted for some requests."""
    log = PredictionLog.open(run).read(run.period("fresh")).to_pylist()
    predicted = {row["request_id"]: row["prediction"] for row in log}
    return [predicted[request_id] for request_id in request_ids]
