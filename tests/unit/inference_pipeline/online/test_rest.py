"""What callers may send, and what they are told when they send something else."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ibis import _
from pydantic import AwareDatetime, ValidationError, create_model
from starlette.testclient import TestClient
from starlette.types import Message

from inference_pipeline.online.bodies import MAX_BODY
from inference_pipeline.online.instances import MAX_INSTANCES
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.requests import RequestReader, Requests, column_kinds
from ratchet.core.errors import (
    GateError,
    RegistryUnavailableError,
    RequestError,
    StoreUnavailableError,
)
from ratchet.features.service import request_schema
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.run import Run
from ratchet.use_case.contract import Array, UseCase
from tests.support.champions import fixed_predictor
from tests.support.messages import missing
from tests.support.mistakes import with_examples
from tests.support.parcels import parcels_project
from tests.support.parcels import use_case as parcels
from tests.support.releases import client_of, say, slot
from tests.support.runs import noshow_project

PATH = "/v1/models/noshow-clinic:predict"
INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return noshow_project(tmp_path_factory.mktemp("rest"))


@pytest.fixture(scope="module")
def serving(run: Run) -> ModelSlot:
    return slot(run, fixed_predictor)


@pytest.fixture(scope="module")
def client(serving: ModelSlot) -> TestClient:
    return client_of(serving)


def nothing_promoted(run: Run) -> ModelSlot:
    say(run, None, "nothing is promoted")
    found = ModelSlot(run)
    found.refresh()
    return found


def logged(run: Run) -> int:
    return sum(path.read_bytes().count(b"\n") for path in run.paths.online_log.rglob("*.jsonl"))


def body(**changes: Any) -> dict[str, Any]:
    return {"instances": [INSTANCE, INSTANCE, {**INSTANCE, **changes}]}


def test_an_answer_has_a_prediction_and_an_id_for_each_instance(client: TestClient, run: Run) -> None:
    """Predictions come in the order of the instances, with the version that made them; each is in the log."""
    answer = client.post(PATH, json=body(booked_days_ahead=29)).json()
    assert {"predictions", "prediction_ids", "model_name", "details"} == answer.keys()
    detail = {"model_version": 1, "arm": "champion", "rung": "fresh", "feature_ages": {"patient_history": 86400.0}}
    assert ("noshow-clinic", [detail] * 3) == (answer["model_name"], answer["details"])
    assert answer["predictions"][0] == answer["predictions"][1]
    found = [PredictionLog.open(run).find(prediction_id) for prediction_id in answer["prediction_ids"]]
    assert answer["predictions"] == [row["prediction"] for row in found]
    assert [12, 12, 29] == [row["request"]["booked_days_ahead"] for row in found]
    assert "2024-07-20T00:00:00+00:00" == found[0]["request"]["event_timestamp"]


def test_the_model_says_that_it_is_ready(client: TestClient, serving: ModelSlot) -> None:
    """GET names the model, its version and what it was trained on."""
    status = client.get("/v1/models/noshow-clinic")
    champion = serving.predictor.release.champion
    expected = {
        "name": "noshow-clinic",
        "ready": True,
        "version": 1,
        "digest": champion.digest,
        "feature_service": champion.feature_service,
    }
    assert (200, expected) == (status.status_code, status.json())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"booked_days_ahead": "12"}, "valid integer"),
        ({"booked_days_ahead": 12.5}, "valid integer"),
        ({"booked_days_ahead": True}, "valid integer"),
        ({"booked_days_ahead": None}, "valid integer"),
        ({"booked_days_ahead": -1}, "equal to 0"),
        ({"booked_days_ahead": 10**30}, "equal to 365"),
        ({"patient": 3}, "valid string"),
        ({"reminder_at": "2024-07-20T09:30:00"}, "offset"),
        ({"reminder_at": "yesterday"}, "RFC 3339"),
        ({"reminder_at": 1721433600}, "RFC 3339"),
        ({"reminder_at": None}, "valid datetime"),
        ({"reminder_at": "2024-02-30T09:30:00Z"}, "day is out of range"),
        ({"reminder_at": "1969-12-31T23:59:59Z"}, "must lie from"),
        ({"reminder_at": "2100-01-01T00:00:00Z"}, "must lie from"),
        ({"reminder_at": "0001-01-01T00:00:00+14:00"}, "must lie from"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_a_wrong_field_is_named_with_its_reason(
    client: TestClient, run: Run, changes: dict[str, Any], reason: str
) -> None:
    """One field of one instance is wrong: it is named, nothing is predicted and nothing logged."""
    before = logged(run)
    answer = client.post(PATH, json=body(**changes))
    assert 422 == answer.status_code
    (field,) = answer.json()["fields"]
    assert f"instances[2].{next(iter(changes))}" == field["field"]
    assert reason in field["reason"]
    assert before == logged(run)


NO_TIMESTAMPS = (
    *("20250701", "202507011200", "0", "-1", "1.5", "1721433600", "1e9", 0, 1.5, True, [], {}),
    *(
        "",
        "2025-07-01",
        "2025-W27-2",
        "2025-182",
        "2025-07-01T10:00",
        "2025-07-01T10:00Z",
        "10:00:00Z",
        "20250701T100000Z",
    ),
    *("2025-07-01 10:00:00Z", "2025-07-01_10:00:00Z", "2025-07-01T10:00:00+0100", "2025-07-01T10:00:00+01"),
    *("2025-07-01T10:00:00,5Z", "2025-07-01T10:00:00.Z", " 2025-07-01T10:00:00Z", "2025-07-01T10:00:00Z\n"),
    *("２025-07-01T10:00:00Z", "2025-07-01T10:00:00−01:00", "2025-07-01T10:00:00 Europe/Lisbon"),
)


def asked(sent: Any) -> Array:
    """The timestamps that are read of a request, which has an optional one beside its own."""
    request = create_model("Seen", __base__=parcels.request, seen_at=(AwareDatetime | None, None))
    seen = replace(
        parcels, request=request, examples=lambda tables: parcels.examples(tables).mutate(seen_at=_.event_timestamp)
    )
    instance = {"sender": 1, "receiver": 1, "sent_at": "2025-07-01T09:00:00Z", "seen_at": sent}
    return read(seen, json.dumps({"instances": [instance]})).columns["seen_at"]


def read(use_case: UseCase, body: str) -> Requests:
    requests = RequestReader(use_case, column_kinds(request_schema(use_case)))
    return requests.read_json(body.encode())


@pytest.mark.parametrize("sent", NO_TIMESTAMPS)
def test_a_time_is_a_timestamp_with_an_offset_alone(sent: Any) -> None:
    """Neither digits that would count from 1970, nor a date, a time without offset or another format is taken for one."""
    with pytest.raises(ValidationError, match=r"instances\.0\.seen_at\n.*RFC 3339"):
        asked(sent)


@pytest.mark.parametrize(
    "sent",
    [
        "2025-07-01T10:00:00Z",
        "2025-07-01t10:00:00z",
        "2025-07-01T10:00:00.000000Z",
        "2025-07-01T12:30:00+02:30",
        "2025-06-30T22:00:00-12:00",
    ],
)
def test_a_timestamp_of_rfc_3339_is_taken(sent: str) -> None:
    """Whatever its offset, case and fraction; one that may be left out is missing."""
    assert np.array(["2025-07-01T10:00"], "datetime64[us]") == asked(sent)
    assert np.isnat(asked(None)).all()


@pytest.mark.parametrize("sender", [2**53 + 1, -(2**53) - 1, 2**63, 10**30])
def test_a_number_that_would_be_taken_for_another_is_refused(sender: int) -> None:
    """Neither its neighbour's features nor a server error: the row and the field are named."""
    instance = {"sender": 1, "receiver": 1, "sent_at": "2024-03-01T12:00:00Z"}
    with pytest.raises(RequestError, match="does not fit int64") as raised:
        read(parcels, json.dumps({"instances": [instance] * 3 + [{**instance, "sender": sender}]}))
    assert raised.value.subject == "instances[3].sender"


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_field_that_takes_fractions_takes_finite_ones_alone(run: Run, literal: str) -> None:
    """What Python's JSON would write of a failed division is no number, and the field is named."""
    request = create_model("Weighed", __base__=run.use_case.request, weight=(float, ...))
    weighed = with_examples(run, lambda rows: rows.mutate(weight=1.5), request)
    text = json.dumps({"instances": [{**INSTANCE, "weight": 0.25}]})
    assert [0.25] == read(weighed.use_case, text).columns["weight"].tolist()
    with pytest.raises(ValidationError, match=r"instances\.0\.weight\n.*finite number"):
        read(weighed.use_case, text.replace("0.25", literal))


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", '"NaN"', "[]", "{}"])
def test_no_number_is_taken_that_is_none(client: TestClient, literal: str) -> None:
    """What JSON does not have, or a float cannot hold, never reaches the model."""
    text = json.dumps(body()).replace("12", literal, 1)
    answer = client.post(PATH, content=text, headers=JSON)
    assert 422 == answer.status_code
    assert "instances[0].booked_days_ahead" == answer.json()["fields"][0]["field"]


def test_a_missing_field_is_named(client: TestClient) -> None:
    """Every field that lacks is in the answer, not only the first."""
    answer = client.post(PATH, json={"instances": [{"clinic": "north", "booked_days_ahead": 1}]})
    expected = ["instances[0].patient", "instances[0].reminder_at"]
    assert (422, expected) == (answer.status_code, [field["field"] for field in answer.json()["fields"]])


@pytest.mark.parametrize(
    ("content", "code", "field"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b'{"instances": [{"patient": "\xff"}]}', 400, "body"),
        (b"[" * 5000, 422, "body"),
        (b"[]", 422, "body"),
        (b"{}", 422, "instances"),
        (b'{"instances": []}', 422, "instances"),
        (b'{"instances": {}}', 422, "instances"),
        (b'{"instances": [3]}', 422, "instances[0]"),
        (json.dumps({"instances": [INSTANCE] * (MAX_INSTANCES + 1)}).encode(), 422, "instances"),
        (json.dumps({"instances": [INSTANCE], "inputs": []}).encode(), 422, "inputs"),
    ],
)
def test_a_body_of_another_shape_is_refused(client: TestClient, content: bytes, code: int, field: str) -> None:
    """What is no JSON is 400, JSON that is no request 422, with the place in it."""
    answer = client.post(PATH, content=content, headers=JSON)
    assert (code, field) == (answer.status_code, answer.json()["fields"][0]["field"])
    assert answer.json()["error"]


def test_a_large_body_is_refused(client: TestClient) -> None:
    """A body over the limit is not read to its end."""
    answer = client.post(PATH, content=b" " * (MAX_BODY + 1), headers=JSON)
    assert 413 == answer.status_code
    assert "larger than" in answer.json()["error"]


def test_another_content_type_is_refused(client: TestClient) -> None:
    """A form is no JSON, even where its bytes are."""
    answer = client.post(
        PATH, content=json.dumps(body()), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert 415 == answer.status_code
    assert "application/json" in answer.json()["error"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_model_is_not_found(client: TestClient, method: str) -> None:
    """The error says which model there is."""
    path = "/v1/models/other" + (":predict" if method == "POST" else "")
    answer = client.request(method, path, json=body())
    assert 404 == answer.status_code
    assert [] == missing(answer.json()["error"], "'other'", "noshow-clinic")


def test_several_models_answer_in_one_process(tmp_path: Path) -> None:
    """Each by its name; one that could not be loaded does not keep the other from answering."""
    served = [slot(noshow_project(tmp_path), fixed_predictor), nothing_promoted(parcels_project(tmp_path))]
    client = client_of(*served)
    names = [name + form for name in ("noshow-clinic", "parcels-feed") for form in ("", ".vectors")]
    assert {"models": names} == client.get("/v1/models").json()
    assert 200 == client.post(PATH, json=body()).status_code
    assert 409 == client.get("/v1/models/parcels-feed").status_code


def test_where_no_model_may_serve_there_is_a_reason(tmp_path: Path) -> None:
    """A person has to act, so that asking again is no use: 409, which says why."""
    client = client_of(nothing_promoted(noshow_project(tmp_path)))
    for answer in (client.get("/v1/models/noshow-clinic"), client.post(PATH, json=body())):
        assert 409 == answer.status_code
        assert "nothing is promoted" in answer.json()["error"]
        assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailableError("does not answer", subject="online store", remedy="Start it"), 503),
        (RegistryUnavailableError("does not answer", subject="registry", remedy="Start it"), 503),
        (GateError("the signature does not fit", subject="version 2", remedy="Roll back"), 409),
        (OSError("the disk is gone"), 503),
    ],
)
def test_the_kind_of_failure_decides_the_status(tmp_path: Path, error: Exception, code: int) -> None:
    """What may be answered soon is 503, with the seconds after which to ask again."""

    def fails(*_: object) -> Predictor:
        raise error

    answer = client_of(slot(noshow_project(tmp_path), fails)).post(PATH, json=body())
    assert code == answer.status_code
    assert ("Retry-After" in answer.headers) == (code == 503)
    assert str(error) in answer.json()["error"]


def test_a_caller_who_hangs_up_before_the_end_is_no_failure(client: TestClient, run: Run) -> None:
    """Half a body and then nobody there: nothing is raised into the server's log, and nothing is predicted."""
    before = logged(run)
    messages = iter([{"type": "http.request", "body": b'{"inst', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Message:
        return next(messages)

    async def send(_message: Message) -> None:
        pass

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}
    asyncio.run(client.app(scope, receive, send))
    assert before == logged(run)
