"""One BentoML process answers as batch does, logs what it answers, and follows the registry without a restart."""

from __future__ import annotations

import json
import math
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from feature_pipeline.materialize import materialize
from inference_pipeline.batch.predict import predict
from inference_pipeline.online.example import example_request
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import KEY_HEADER
from ratchet.core.clock import Period, SystemClock
from ratchet.model_registry import promotion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.trace import trace
from ratchet.project.run import Run
from tests.support.registry import copied
from tests.support.serving import Server, running
from tests.support.waiting import awaited

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
    head = f"POST {server.model}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
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


def test_features_may_come_from_redis(serving_project: Run, tmp_path: Path, empty_redis: str) -> None:
    """In the event loop of the real service, which is not that of asyncio."""
    copy = copied(serving_project, tmp_path / "project")
    chosen = {"online_store": "redis", "redis": empty_redis}
    run = replace(copy, environment=copy.environment.model_copy(update=chosen))
    materialize(run)
    with running(run, RATCHET_ONLINE_STORE="redis", RATCHET_REDIS=empty_redis) as server:
        answer = server.client.post(f"{server.model}:predict", json=example_request(run)).json()
    assert ["fresh"] == [detail["rung"] for detail in answer["details"]]
    (prediction_id,) = answer["prediction_ids"]
    assert None not in PredictionLog.open(run).find(prediction_id)["features"].values()


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


def explained(server: Server, rows: Rows) -> dict[str, Any]:
    answer = server.client.post(f"{server.model}:explain", json={"instances": [as_instance(row) for row in rows]})
    assert 200 == answer.status_code, answer.text
    return dict(answer.json())


def test_an_explanation_adds_up_to_the_prediction(server: Server, scored: Rows) -> None:
    """It names the model's inputs, comes with a prediction that is logged as any other, and is the same in each protocol.

    Some are the baseline's, which the inputs add nothing to.
    """
    rows = scored[-25:]
    found = explained(server, rows)
    assert ask(server, rows)["predictions"] == found["predictions"]
    for value, each, detail in zip(found["predictions"], found["explanations"], found["details"], strict=True):
        sum_ = each["base_value"] + sum(each["contributions"].values())
        if detail["rung"] == "baseline":
            assert ("prediction", value, {}) == (each["scale"], sum_, each["contributions"])
        else:
            assert ("log-odds", pytest.approx(value, rel=1e-9)) == (each["scale"], 1 / (1 + math.exp(-sum_)))
            assert {"clinic", "patient_history__miss_rate_56d"} < each["contributions"].keys()
    assert 2 == len({detail["rung"] for detail in found["details"]})
    logged = {row["prediction_id"]: row["prediction"] for row in logged_today(server.run)}
    assert found["predictions"] == [logged[name] for name in found["prediction_ids"]]
    body = {**PROTOCOLS["v2"].body([as_instance(row) for row in rows]), "parameters": {"explain": True}}
    outputs = server.client.post(f"/v2/models/{server.run.scope.namespace}/infer", json=body).json()["outputs"]
    columns = {each["name"]: each["data"] for each in outputs}
    for place, each in enumerate(found["explanations"]):
        assert each["base_value"] == columns["base_value"][place]
        assert each["contributions"] == {
            name.removeprefix("contribution."): values[place]
            for name, values in columns.items()
            if name.startswith("contribution.") and values[place] is not None
        }


def test_an_explanation_is_not_kept_under_a_key(server: Server, scored: Rows) -> None:
    body = {"instances": [as_instance(scored[-1])]}
    answer = server.client.post(f"{server.model}:explain", json=body, headers={KEY_HEADER: "visit-9"})
    assert (422, KEY_HEADER) == (answer.status_code, answer.json()["fields"][0]["field"])


def test_the_document_says_what_is_served(server: Server, scored: Rows) -> None:
    """Every path with the model's own fields, and a page that loads nothing from elsewhere."""
    document = server.client.get("/openapi.json").json()
    assert "3.1.0" == document["openapi"]
    name = server.run.scope.namespace
    body = document["paths"][f"/v1/models/{name}:predict"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    instance = as_instance(scored[-1])
    jsonschema.validate({"instances": [instance]}, body)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"instances": [{**instance, "clinic": 3}]}, body)
    for path, operations in document["paths"].items():
        for method in operations:
            assert server.client.request(method, path).status_code not in (404, 405, 500), path
    page = server.client.get("/docs").text
    links = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert 3 == len(links)
    assert [200] * 3 == [server.client.get(f"/{link}").status_code for link in links]


def test_answers_are_as_the_document_says(server: Server, scored: Rows) -> None:
    """Those with predictions and those with errors, in each protocol."""
    document = server.client.get("/openapi.json").json()
    instances = [as_instance(row) for row in scored[-3:]]
    for path, operations in document["paths"].items():
        protocol = PROTOCOLS["v1" if path.startswith("/v1") else "v2"]
        if "requestBody" in operations.get("post", {}) and not path.endswith(":feedback") and ".vectors" not in path:
            for content in (protocol.body(instances), {}):
                answer = server.client.post(path, json=content)
                said = operations["post"]["responses"]["200" if content else "default"]
                assert (200 if content else 422) == answer.status_code
                jsonschema.validate(answer.json(), said["content"]["application/json"]["schema"])


def test_without_its_loader_it_is_ready_all_the_same(server: Server, scored: Rows) -> None:
    """What answers needs none. A balancer that asks is told so."""
    ours = (process for process in psutil.process_iter() if "loader" in _command(process))
    loader = next(process for process in ours if process.cwd() == str(server.run.root))
    loader.suspend()
    try:
        assert (200, True) == ((ready := server.client.get("/readyz")).status_code, ready.json()["ready"])
        ask(server, scored[-1:])
    finally:
        loader.resume()


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []
