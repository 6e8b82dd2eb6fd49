"""How a prediction is made when features are not as they should be, and what is logged of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from inference_pipeline.online.arms import Arms
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.prepared import OneRow
from inference_pipeline.online.release import ReleasedModel
from inference_pipeline.online.scorer import Scorer, UncompiledModel
from inference_pipeline.online.shared import Shared
from ratchet.core.errors import DataError, StoreUnavailableError
from ratchet.feature_store.online_features import OnlineFeatures
from ratchet.feature_store.stored_rows import HeldRows
from ratchet.prediction_log import schema as prediction_schema
from ratchet.prediction_log.online_log import line_of
from ratchet.project.run import Run
from ratchet.storage.arrow import to_columns
from ratchet.use_case.contract import Columns
from tests.support.champions import FixedRows, fixed_predictor, noshow_champion
from tests.support.models import noshow_baseline, noshow_contract
from tests.support.releases import asked
from tests.support.runs import noshow_project

INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}


class Away(FixedRows):
    """A store that does not answer."""

    async def read(self, _wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        raise StoreUnavailableError("does not answer", subject="online store", remedy="Start it")


class NewerForOne(FixedRows):
    """A store that has moved on since the request of the second patient."""

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        rows = await super().read(wanted)
        return [rows[0], HeldRows(4_000_000_000, (1, 1.0), None), *rows[2:]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return fixed_predictor(noshow_project(tmp_path_factory.mktemp("prepared")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path)


def predictor(
    run: Run, prepared: Predictor, rows: FixedRows | None = None, *, has_baseline: bool = True, **changes: Any
) -> Predictor:
    release = prepared.release
    model = noshow_baseline(noshow_contract(run))
    baseline = ReleasedModel(version=1, digest=model.digest, feature_service="noshow_1")
    return replace(
        prepared,
        baseline=Scorer(baseline, UncompiledModel(model, 1), run.use_case) if has_baseline else None,
        features=OnlineFeatures(release.views, release.lookups, rows or FixedRows(), timedelta(0)),
        shared=Shared.of(run),
        clock=run.clock,
        **changes,
    )


def answers(served: Predictor, instances: Sequence[dict[str, Any]]) -> list[tuple[str, int, float]]:
    """Rung, version and prediction of each instance."""
    requests = asked(served, json.dumps({"instances": instances}).encode())
    found = asyncio.run(served.predict(requests))
    served.shared.log.close()
    return [(row.rung, row.model_version, row.value) for row in found.rows]


def logged(run: Run) -> list[dict[str, Any]]:
    lines = [line for path in run.paths.online_log.rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


def test_without_features_the_baseline_answers(run: Run, prepared: Predictor) -> None:
    """It says so, and the log names its version."""
    served = predictor(run, prepared, Away(), release=with_version(prepared, 7))
    ((rung, version, value),) = answers(served, [INSTANCE])
    assert ("baseline", 1) == (rung, version)
    (row,) = logged(run)
    assert (value, 1, "baseline") == (row["prediction"], row["model_version"], row["rung"])
    assert {"patient_history": "unavailable"} == row["absences"]
    assert {None} == {*row["features"].values()}


def with_version(prepared: Predictor, number: int) -> Any:
    champion = prepared.release.champion.model_copy(update={"version": number})
    return prepared.release.model_copy(update={"champion": champion})


def test_one_of_many_may_need_the_baseline(run: Run, prepared: Predictor) -> None:
    """Each gets what it would get alone."""
    served = predictor(run, prepared, NewerForOne())
    three = answers(served, [INSTANCE] * 3)
    assert ["fresh", "baseline", "fresh"] == [rung for rung, *_ in three]
    assert three[0] == three[2]
    (alone,) = answers(predictor(run, prepared, Away()), [INSTANCE])
    assert alone == three[1]


@pytest.mark.parametrize("rows", [Away(), NewerForOne()])
def test_without_a_baseline_there_is_no_answer(run: Run, prepared: Predictor, rows: FixedRows) -> None:
    """And nothing is logged."""
    served = predictor(run, prepared, rows, has_baseline=False)
    with pytest.raises(StoreUnavailableError):
        answers(served, [INSTANCE] * 2)
    assert not logged(run)


def test_each_rung_is_counted(run: Run, prepared: Predictor) -> None:
    def count(rung: str) -> float:
        labels = {"model": "noshow-clinic", "arm": "champion", "rung": rung}
        return REGISTRY.get_sample_value("ratchet_predictions_total", labels) or 0.0

    before = {rung: count(rung) for rung in ("fresh", "baseline")}
    answers(served := predictor(run, prepared, NewerForOne()), [INSTANCE] * 3)
    served.shared.counts.show()
    assert {"fresh": 2, "baseline": 1} == {rung: count(rung) - number for rung, number in before.items()}


def test_many_instances_get_what_each_would_get_alone(run: Run, prepared: Predictor) -> None:
    """They are predicted in a thread, and the trees get many rows at once."""
    instances = [{**INSTANCE, "booked_days_ahead": days, "clinic": ("north", "south")[days % 2]} for days in range(60)]
    many = answers(predictor(run, prepared), instances)
    alone = [answers(predictor(run, prepared), [each])[0] for each in instances]
    assert many == alone
    assert 2 < len({value for *_, value in many})


def test_what_is_no_number_is_no_answer(run: Run, prepared: Predictor) -> None:
    """Whatever made it: the caller is told which version."""

    def nothing(_columns: Columns, numbers: Any) -> Any:
        return np.full(len(numbers), np.nan)

    broken = replace(prepared.arms.champion, use_case=replace(run.use_case, postprocess=nothing))
    with pytest.raises(DataError, match="finite"):
        answers(predictor(run, prepared, arms=Arms(broken)), [INSTANCE])
    assert not logged(run)


def test_a_line_is_what_a_batch_would_log(run: Run, prepared: Predictor) -> None:
    """Field by field, but for the ids, the time, and what only one of them knows."""
    served = predictor(run, prepared)
    requests = asked(served, json.dumps({"instances": [INSTANCE, {**INSTANCE, "clinic": "west"}]}).encode())
    found = asyncio.run(served.features.read(requests.values, requests.times))
    asyncio.run(served.predict(requests))
    served.shared.log.close()
    columns = run.use_case.complete({**requests.columns, **found.columns})
    champion = noshow_champion(run)
    expected = prediction_schema.log_entries(
        prediction_schema.log_schema(run.use_case),
        champion,
        columns,
        champion.model.predict(columns),
        ids=["a", "b"],
        times=columns["event_timestamp"],
        scorer="a0b1c2d3e4f5",
    )
    own = {"prediction_id", "time", "scorer", "absences", "rung", "vector"}
    rows = [json.loads(line_of(row)) for row in expected.to_pylist()]
    assert [{name: value for name, value in row.items() if name not in own} for row in rows] == [
        {name: value for name, value in row.items() if name not in own} for row in logged(run)
    ]
    assert to_columns(expected)["prediction"].tolist() == [row["prediction"] for row in logged(run)]


def test_one_request_has_the_columns_of_many(run: Run, prepared: Predictor) -> None:
    """Each by itself, in the same types; and the features as plain values."""
    served = predictor(run, prepared)
    requests = asked(served, json.dumps({"instances": [INSTANCE]}).encode())
    found = asyncio.run(served.features.read(requests.values, requests.times))
    one, columns = OneRow(requests, found), {**requests.columns, **found.columns}
    assert [*columns] == [*one]
    assert len(columns) == len(one)
    for name, column in columns.items():
        np.testing.assert_array_equal(column, one[name], name, strict=True)
    assert dict(zip(found.features, found.rows[0], strict=True)).items() <= one.plain.items()


def test_in_batches_the_answers_are_the_same(run: Run, prepared: Predictor) -> None:
    """Whether all of a request has features, some of it or nothing."""
    serving = run.settings.serving.model_copy(update={"batch_rows": 100})
    together = run.with_settings(serving=serving)
    instances = [{**INSTANCE, "booked_days_ahead": days} for days in range(3)]
    for rows in (FixedRows(), NewerForOne(), Away()):
        alone, batched = (answers(predictor(each, prepared, rows), instances) for each in (run, together))
        assert alone == batched
