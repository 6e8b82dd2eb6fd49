"""One BentoML process answers as batch does, logs what it answers, and follows the registry without a restart."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from feature_pipeline.materialize import materialize
from inference_pipeline.batch.predict import predict
from inference_pipeline.online.example import example_request
from inference_pipeline.online.protocols.port import KEY_HEADER
from ratchet.core.clock import Period, SystemClock
from ratchet.model_registry import promotion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.trace import trace
from ratchet.project.run import Run
from tests.support.serving import Server

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def scored(serving_project: Run) -> Rows:
    """What batch said of every fresh request, in the order of their timestamps."""
    predict(serving_project)
    return list(PredictionLog.open(serving_project).read(serving_project.period("fresh")).to_pylist())


def ask(server: Server, rows: Rows) -> dict[str, Any]:
    """The answer to the requests of log rows."""
    answer = server.client.post(f"{server.model}:predict", json={"instances": [as_instance(row) for row in rows]})
    assert 200 == answer.status_code, answer.text
    return dict(answer.json())


def as_instance(row: dict[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in row["request"].items() if name != "event_timestamp"}
    return {**fields, "reminder_at": row["request"]["event_timestamp"].isoformat()}


def logged_today(run: Run) -> Rows:
    now = SystemClock().now()
    day = Period(now - timedelta(days=1), now + timedelta(days=1))
    return list(PredictionLog.open(run).read(day).to_pylist())


def test_online_answers_as_batch_does(server: Server, scored: Rows) -> None:
    """Equal features give bit-equal predictions; what differs is absent online, because something newer replaced it."""
    ids = ask(server, scored)["prediction_ids"]
    by_id = {row["prediction_id"]: row for row in logged_today(server.run)}
    pairs = [(batch, by_id[name]) for batch, name in zip(scored, ids, strict=True)]
    same = [(batch, online) for batch, online in pairs if batch["features"] == online["features"]]
    assert 15 <= sum(batch["features"]["patient_history__miss_rate_56d"] is not None for batch, _ in same)
    for batch, online in same:
        for column in ("prediction", "request", "keys", "feature_timestamps", "model_digest", "feature_service"):
            assert batch[column] == online[column]
    replaced = [online["features"] for batch, online in pairs if batch["features"] != online["features"]]
    assert {None} == {value for features in replaced for value in features.values()}


def test_every_answer_of_many_clients_is_logged_once(server: Server, scored: Rows) -> None:
    """Eight clients at a time: all their predictions are in the log, each exactly once, and under the right request."""
    asked = [scored[start : start + 3] for start in range(100)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(partial(ask, server), asked))
    ids = [name for answer in answers for name in answer["prediction_ids"]]
    requests = dict(zip(ids, (row["request"] for rows in asked for row in rows), strict=True))
    logged = {row["prediction_id"]: row["request"] for row in logged_today(server.run)}
    assert 300 == len(requests)
    assert requests == {name: logged[name] for name in ids}
    assert len(logged) == len(logged_today(server.run))


def test_both_kinds_of_id_lead_back_to_data_and_code(server: Server, scored: Rows) -> None:
    """An online and a batch prediction of the same model have the same way back."""
    log, registry = PredictionLog.open(server.run), ModelRegistry.open(server.run)
    online = trace(log, registry, ask(server, scored[-1:])["prediction_ids"][0])
    batch = trace(log, registry, scored[-1]["prediction_id"])
    for part in ("request", "model", "gate_record", "run", "feature_service", "data_version", "code"):
        assert batch[part] == online[part]
    assert ("superior", True) == (batch["gate_record"]["verdict"], batch["gate_record"]["verified"])
    assert "c" * 40 == batch["code"]["commit"]


def test_the_example_is_answered_with_features(server: Server, scored: Rows) -> None:
    """The example is a request as it is sent, of a timestamp for which the online store has features."""
    answer = server.client.post(f"{server.model}:predict", json=example_request(server.run))
    (prediction_id,) = answer.json()["prediction_ids"]
    assert None not in PredictionLog.open(server.run).find(prediction_id)["features"].values()


def test_a_repeated_request_is_answered_once(server: Server, scored: Rows) -> None:
    """Through the real server: the same answer, one row in the log."""
    body, headers = {"instances": [as_instance(scored[0])]}, {KEY_HEADER: "visit-1"}
    first, again = (server.client.post(f"{server.model}:predict", json=body, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert 1 == [row["request_id"] for row in logged_today(server.run)].count("visit-1/0")


def test_an_answer_that_nobody_waited_for_is_marked(server: Server, scored: Rows) -> None:
    """The caller hangs up when it has asked; the trace says so, until it asks again with its key."""
    body = json.dumps({"instances": [as_instance(scored[0])]}).encode()
    head = f"POST {server.model}:predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    key = f"{KEY_HEADER}: gone\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((server.client.base_url.host, server.client.base_url.port)) as caller:
        caller.sendall((head + key).encode() + body)
    (name,) = awaited(lambda: [row["prediction_id"] for row in logged_today(server.run) if row["undelivered"]])
    log, registry = PredictionLog.open(server.run), ModelRegistry.open(server.run)
    assert trace(log, registry, name)["prediction"]["undelivered"]

    request = {"instances": [as_instance(scored[0])]}
    again = server.client.post(f"{server.model}:predict", json=request, headers={KEY_HEADER: "gone"})
    assert [name] == again.json()["prediction_ids"]
    awaited(lambda: not trace(log, registry, name)["prediction"]["undelivered"])


T = TypeVar("T")


def awaited(condition: Callable[[], T]) -> T:
    """The first value that is true; fails when there is none for long."""
    ends = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return found


def metrics(server: Server) -> dict[str, float]:
    """What Prometheus would be told of views: name and labels → value."""
    lines = (line.rpartition(" ") for line in server.client.get("/metrics").text.splitlines())
    return {name: float(value) for name, _, value in lines if name.startswith("ratchet_view")}


def test_the_age_of_the_features_is_a_metric(server: Server) -> None:
    """As of now, which is long after the clinic's last batch: no request of today finds any."""
    labels = '{model="noshow-clinic",view="patient_history"}'
    found = awaited(lambda: {name: each for name, each in metrics(server).items() if labels in name})
    newest = datetime.fromisoformat(materialize(server.run)["freshness"]["patient_history"]["newest"])
    age = (SystemClock().now() - newest).total_seconds()
    assert abs(age - found[f"ratchet_view_age_seconds{labels}"]) < 600
    assert 60 * 86400 == found[f"ratchet_view_max_age_seconds{labels}"]
    assert 0 == found[f"ratchet_view_fresh{labels}"]


def test_absent_features_are_counted_and_logged(server: Server, scored: Rows) -> None:
    """For each reason; they are in the log with the prediction, and in its trace."""
    known = as_instance(scored[-1])
    asked = [{**known, "patient": "nobody"}, {**known, "reminder_at": "2024-12-24T18:00:00Z"}, known]
    before = metrics(server)
    answer = server.client.post(f"{server.model}:predict", json={"instances": asked}).json()
    after = awaited(lambda: (now := metrics(server)) != before and now)
    counts = {
        reason: after[name] - before[name]
        for reason in ("no key", "missing", "stale", "newer")
        for name in [f'ratchet_view_absent_total{{model="noshow-clinic",reason="{reason}",view="patient_history"}}']
    }
    log, registry = PredictionLog.open(server.run), ModelRegistry.open(server.run)
    found = [trace(log, registry, name)["absences"] for name in answer["prediction_ids"]]
    assert [{"patient_history": "missing"}, {"patient_history": "stale"}] == found[:2]
    assert 2 == counts["missing"] + counts["stale"]


def test_errors_are_ours_through_bentoml(server: Server) -> None:
    """A wrong request, an unknown model and an unknown path get their codes from the real server."""
    wrong = server.client.post(f"{server.model}:predict", json={"instances": [{}]})
    assert (422, "instances[0].patient") == (wrong.status_code, wrong.json()["fields"][0]["field"])
    assert 404 == server.client.get("/v1/models/other").status_code
    assert 404 == server.client.get("/v2/health").status_code


def test_the_first_page_is_ours(server: Server) -> None:
    """It says that the service lives, and sends nobody's browser elsewhere."""
    assert {"status": "alive"} == server.client.get("/").json()


def test_a_promotion_is_followed_without_a_restart(server: Server, scored: Rows) -> None:
    """Answers go on while the version changes, and each says which one it is from."""
    registry = ModelRegistry.open(server.run)
    moves = [
        partial(promotion.rollback, reason="to see it followed"),
        partial(promotion.promote, version=2, reason="and back"),
    ]
    for move in moves:
        wanted = move(registry, by="test")["champion"]["version"]
        awaited(lambda wanted=wanted: wanted == ask(server, scored[-1:])["details"][0]["model_version"])
