"""What callers report about predictions is kept, under the day of the prediction, and the last report counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from inference_pipeline.online.served import Served
from ratchet.core.clock import FixedClock
from ratchet.prediction_log.dropped import drop_before
from ratchet.prediction_log.feedback import FEEDBACK, FeedbackLog
from ratchet.project.run import Run
from tests.support.champions import fixed_predictor
from tests.support.releases import client_of, slot
from tests.support.runs import noshow_project

NOW = datetime(2024, 7, 24, 12, tzinfo=UTC)
PATH = "/v1/models/noshow-clinic:feedback"
INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(noshow_project(tmp_path), clock=FixedClock(NOW))


@pytest.fixture
def client(run: Run) -> Iterator[TestClient]:
    with client_of(slot(run, fixed_predictor)) as client:
        yield client


def predicted(client: TestClient, rows: int = 2) -> list[str]:
    answer = client.post(PATH.replace("feedback", "predict"), json={"instances": [INSTANCE] * rows})
    return list(answer.json()["prediction_ids"])


def kept(run: Run) -> list[dict[str, Any]]:
    return list(FeedbackLog(run.paths.online_log).read([NOW.date()]).to_pylist())


def test_the_last_outcome_of_each_prediction_counts(run: Run, client: TestClient) -> None:
    """With when it was seen: as the caller says, or now."""
    one, two = sorted(predicted(client))
    seen = NOW - timedelta(minutes=5)
    first = [
        {"prediction_id": one, "outcome": 1, "observed_at": seen.isoformat()},
        {"prediction_id": two, "outcome": 0},
    ]
    assert {"accepted": 2} == client.post(PATH, json={"feedback": first}).json()
    rows = kept(run)
    assert [(one, 1.0, seen), (two, 0.0, NOW)] == [
        (row["prediction_id"], row["outcome"], row["observed_at"]) for row in rows
    ]
    later = Served([slot(replace(run, clock=FixedClock(NOW + timedelta(hours=1))), fixed_predictor)])
    client.app.attach(later)
    client.post(PATH, json={"feedback": [{"prediction_id": one, "outcome": 0}]})
    assert [0.0, 0.0] == [row["outcome"] for row in kept(run)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prediction_id": "2024-07-20-b0123456789abcdef"}, "feedback[0].prediction_id"),
        ({"prediction_id": "../../etc"}, "feedback[0].prediction_id"),
        ({"prediction_id": "2024-07-25-o" + "0" * 32}, "feedback[0].prediction_id"),
        ({"prediction_id": "2023-99-99-o" + "0" * 32}, "feedback[0].prediction_id"),
        ({"outcome": 0.5}, "feedback[0].outcome"),
        ({"outcome": "1"}, "feedback[0].outcome"),
        ({"outcome": None}, "feedback[0].outcome"),
        ({"observed_at": "2024-07-25T00:00:00Z"}, "feedback[0].observed_at"),
        ({"observed_at": "20240701"}, "feedback[0].observed_at"),
        ({"label": 1}, "feedback[0].label"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(
    run: Run, client: TestClient, changes: dict[str, Any], field: str
) -> None:
    sent = {"prediction_id": "2024-07-24-o" + "0" * 32, "outcome": 1, **changes}
    answer = client.post(PATH, json={"feedback": [sent]})
    assert (422, field) == (answer.status_code, answer.json()["fields"][0]["field"]), answer.text
    assert [] == kept(run)


def test_another_model_is_not_found(client: TestClient) -> None:
    assert 404 == client.post(PATH.replace("noshow", "other"), json={"feedback": []}).status_code


def test_where_it_cannot_be_kept_it_is_refused(run: Run, client: TestClient) -> None:
    run.paths.online_log.parent.mkdir(parents=True, exist_ok=True)
    run.paths.online_log.write_text("in the way")
    sent = {"prediction_id": "2024-07-24-o" + "0" * 32, "outcome": 1}
    assert 503 == client.post(PATH, json={"feedback": [sent]}).status_code


def test_it_is_dropped_with_its_predictions(run: Run, client: TestClient) -> None:
    (one,) = predicted(client, 1)
    client.post(PATH, json={"feedback": [{"prediction_id": one, "outcome": 1}]})
    assert 1 == len(kept(run))
    drop_before(run.paths.predictions, run.paths.online_log, NOW.date() + timedelta(days=1))
    assert [] == kept(run)


def test_without_any_there_is_an_empty_table(tmp_path: Path) -> None:
    found = FeedbackLog(tmp_path).read([date(2024, 7, 24)])
    assert (FEEDBACK, 0) == (found.schema, found.num_rows)


def test_half_a_line_of_a_killed_process_is_left_out(run: Run, client: TestClient) -> None:
    (one,) = predicted(client, 1)
    client.post(PATH, json={"feedback": [{"prediction_id": one, "outcome": 1}]})
    (path,) = run.paths.online_log.rglob("*.feedback")
    path.write_bytes(path.read_bytes() + b'{"prediction_id": "2024-07')
    assert 1 == len(kept(run))
