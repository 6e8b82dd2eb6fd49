"""The Open Inference Protocol over REST: its paths, and its tensors in JSON and in binary form."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx import Response
from starlette.testclient import TestClient

from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.protocols.tensors import Tensor, from_bytes, to_bytes
from inference_pipeline.online.protocols.v2_bodies import HEADER_LENGTH
from ratchet.core.errors import RequestError
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.run import Run
from tests.support.champions import fixed_predictor
from tests.support.releases import client_of, say, slot
from tests.support.runs import noshow_project

MODEL = "/v2/models/noshow-clinic"
VECTOR_MODEL = "/v2/models/noshow-clinic.vectors"
INPUTS = [
    {"name": "patient", "datatype": "BYTES", "shape": [2], "data": ["p3", "p4"]},
    {"name": "clinic", "datatype": "BYTES", "shape": [2, 1], "data": [["north"], ["south"]]},
    {"name": "booked_days_ahead", "datatype": "INT64", "shape": [2], "data": [12, 29]},
    {"name": "reminder_at", "datatype": "BYTES", "shape": [2], "data": ["2024-07-20T00:00:00Z"] * 2},
]
OUTPUTS = ["prediction", "prediction_id", "model_version", "arm", "rung", "feature_age.patient_history"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return noshow_project(tmp_path_factory.mktemp("v2"))


@pytest.fixture(scope="module")
def client(run: Run) -> Iterator[TestClient]:
    with client_of(slot(run, fixed_predictor)) as client:
        yield client


def infer(client: TestClient, inputs: list[dict[str, Any]] = INPUTS, path: str = MODEL, **others: Any) -> Response:
    return client.post(f"{path}/infer", json={"inputs": inputs, **others})


def changed(name: str, /, **changes: Any) -> list[dict[str, Any]]:
    return [{**each, **changes} if each["name"] == name else each for each in INPUTS]


def data(answer: Response) -> dict[str, Any]:
    assert 200 == answer.status_code, answer.text
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


def test_an_answer_has_an_output_for_everything_that_is_known_of_a_prediction(client: TestClient, run: Run) -> None:
    """And says again which request it answers."""
    answer = infer(client, id="mine")
    assert ("noshow-clinic", "1", "mine") == tuple(
        answer.json()[name] for name in ("model_name", "model_version", "id")
    )
    found = data(answer)
    assert OUTPUTS == [*found]
    assert ([1, 1], ["champion"] * 2, ["fresh"] * 2) == (found["model_version"], found["arm"], found["rung"])
    assert [86400.0, 86400.0] == found["feature_age.patient_history"]
    rows = [PredictionLog.open(run).find(name) for name in found["prediction_id"]]
    assert found["prediction"] == [row["prediction"] for row in rows]
    assert [12, 29] == [row["request"]["booked_days_ahead"] for row in rows]


def test_only_the_outputs_that_are_named_are_answered(client: TestClient) -> None:
    assert ["rung", "prediction"] == [*data(infer(client, outputs=[{"name": "rung"}, {"name": "prediction"}]))]


def test_an_unknown_output_is_refused_before_anything_is_predicted(client: TestClient, run: Run) -> None:
    before = lines(run)
    answer = infer(client, outputs=[{"name": "predictions"}])
    assert (422, before) == (answer.status_code, lines(run))
    assert "output 'predictions'" == answer.json()["fields"][0]["field"]


def lines(run: Run) -> int:
    return sum(path.read_bytes().count(b"\n") for path in run.paths.online_log.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        (changed("clinic", data=["north"]), "input 'clinic'"),
        (changed("clinic", data=["north"], shape=[1]), "input 'clinic'"),
        (changed("clinic", shape=[1, 2]), "input 'clinic'"),
        (changed("clinic", data=None), "input 'clinic'"),
        (changed("clinic", name="patient"), "input 'patient'"),
        (changed("clinic", name="hospital"), "instances[0].clinic"),
        (changed("clinic", data=["north", 3]), "instances[1].clinic"),
        (changed("clinic", data=["north", None]), "instances[1].clinic"),
        (changed("clinic", data=[], shape=[0]), "instances[0].clinic"),
        (changed("booked_days_ahead", data=[12, 2.5]), "instances[1].booked_days_ahead"),
        (changed("reminder_at", data=["20250701", "2024-07-20T00:00:00Z"]), "instances[0].reminder_at"),
        ([], "instances"),
    ],
)
def test_the_input_and_the_row_that_are_wrong_are_named(
    client: TestClient, inputs: list[dict[str, Any]], field: str
) -> None:
    """As in every protocol, a row by its number."""
    answer = infer(client, inputs)
    assert (422, field) == (answer.status_code, answer.json()["fields"][0]["field"]), answer.text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", 400),
        (b'{"inputs\xff": 3}', 400),
        (b'{"inputs": [{"name": "a", "datatype": "BOOL", "shape": [1], "data": ' + b"[" * 100_000, 422),
        (b"[]", 422),
        (b'{"inputs": 3}', 422),
        (b'{"inputs": [{"name": "a"}]}', 422),
        (b'{"inputs": [], "instances": []}', 422),
        (b'{"inputs": [], "inputs": []}', 422),
        (b'{"inputs": [], "parameters": {"explain": "yes"}}', 422),
    ],
)
def test_a_body_of_another_shape_is_refused(client: TestClient, content: bytes, code: int) -> None:
    assert code == client.post(f"{MODEL}/infer", content=content).status_code


def binary(client: TestClient, inputs: list[dict[str, Any]], tail: bytes, length: str | None = None) -> Response:
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {HEADER_LENGTH: length or str(len(header)), "content-type": "application/octet-stream"}
    return client.post(f"{MODEL}/infer", content=header + tail, headers=headers)


def test_tensors_in_binary_form_get_the_same_predictions(client: TestClient) -> None:
    """Some in the JSON and some after it; the answer is binary, if that is asked for."""
    days = {"name": "booked_days_ahead", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": 4}}
    inputs = [each if each["name"] != "booked_days_ahead" else days for each in INPUTS]
    answer = binary(client, inputs, np.array([12, 29], "<i2").tobytes())
    assert 200 == answer.status_code, answer.text
    header = json.loads(answer.content[: int(answer.headers[HEADER_LENGTH])])
    tail, start, values = answer.content[int(answer.headers[HEADER_LENGTH]) :], 0, {}
    for each in header["outputs"]:
        size = each["parameters"]["binary_data_size"]
        values[each["name"]] = from_bytes(each["name"], each["datatype"], tail[start : start + size])
        start += size
    assert start == len(tail)
    assert data(infer(client))["prediction"] == values["prediction"]
    assert (["fresh", "fresh"], [86400.0] * 2) == (values["rung"], values["feature_age.patient_history"])


@pytest.mark.parametrize(("size", "tail"), [(4, b"\x01\x00"), (3, b"\x01\x00\x01"), (-1, b""), (4, b"\x01\x00" * 3)])
def test_bytes_that_do_not_fit_their_input_are_refused(client: TestClient, size: int, tail: bytes) -> None:
    days = {"name": "booked_days_ahead", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": size}}
    answer = binary(client, [each if each["name"] != "booked_days_ahead" else days for each in INPUTS], tail)
    assert 422 == answer.status_code


@pytest.mark.parametrize("length", ["-1", "99999", "1.5", "²", "x", "9" * 5000])
def test_a_length_that_no_json_has_is_refused(client: TestClient, length: str) -> None:
    header = {HEADER_LENGTH: length.encode()}
    assert 400 == client.post(f"{MODEL}/infer", content=b"{}", headers=header).status_code


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        ("INT8", [-128, 127]),
        ("UINT64", [0, 2**64 - 1]),
        ("FP32", [0.5, None]),
        ("FP64", [0.1, None]),
        ("BYTES", ["", "ü€"]),
    ],
)
def test_a_tensor_is_the_same_after_its_binary_form(datatype: str, values: list[Any]) -> None:
    form = {"FP32": "<f4"}.get(datatype)
    sent = np.array(values, form).tobytes() if form else to_bytes(Tensor("a", datatype, [2], values))
    assert values == from_bytes("a", datatype, sent)


@pytest.mark.parametrize(
    ("datatype", "sent"),
    [("FP64", b"1234"), ("BYTES", b"\x05\x00\x00\x00abc"), ("BYTES", b"\x01\x00"), ("BYTES", b"\x01\0\0\0\xff")],
)
def test_what_is_not_of_a_datatype_is_refused(datatype: str, sent: bytes) -> None:
    with pytest.raises(RequestError, match="'a'"):
        from_bytes("a", datatype, sent)


@pytest.mark.parametrize("datatype", ["BF16", "FP16x", "", "string"])
def test_another_datatype_is_refused(datatype: str) -> None:
    with pytest.raises(RequestError, match="FP64"):
        from_bytes("a", datatype, b"")


def test_a_model_says_what_it_takes_and_answers(client: TestClient) -> None:
    """By the names of a request's fields; and, under its other name, by those of the model's inputs."""
    for path in (MODEL, f"{MODEL}/versions/1"):
        found = client.get(path).json()
        assert ("noshow-clinic", ["1"]) == (found["name"], found["versions"])
        inputs = {each["name"]: each["datatype"] for each in found["inputs"]}
        assert {each["name"]: each["datatype"] for each in INPUTS} == inputs
        assert OUTPUTS == [each["name"] for each in found["outputs"]]
    vectors = client.get(VECTOR_MODEL).json()
    kinds = {each["name"]: each["datatype"] for each in vectors["inputs"]}
    assert ("BYTES", "FP64") == (kinds["clinic"], kinds["patient_history__miss_rate_56d"])
    assert "feature_age.patient_history" not in [each["name"] for each in vectors["outputs"]]


@pytest.mark.parametrize("end", ["", "/ready", "/infer"])
def test_a_version_that_does_not_serve_is_not_found(client: TestClient, end: str) -> None:
    """The answer says which one does."""
    path = f"{MODEL}/versions/7{end}"
    answer = client.post(path, json={"inputs": INPUTS}) if end == "/infer" else client.get(path)
    assert 404 == answer.status_code
    assert "Ask for version 1" in answer.json()["error"]


def test_the_service_says_what_it_is_and_how_it_is(client: TestClient) -> None:
    server = client.get("/v2").json()
    assert ("ratchet", ["binary_tensor_data"]) == (server["name"], server["extensions"])
    assert {"live": True} == client.get("/v2/health/live").json()
    assert {"ready": True, "problems": {}} == client.get("/v2/health/ready").json()
    assert {"name": "noshow-clinic", "ready": True} == client.get(f"{MODEL}/ready").json()
    index = client.post("/v2/repository/index").json()
    ready = {"version": "1", "state": "READY", "reason": ""}
    assert [{"name": name, **ready} for name in ("noshow-clinic", "noshow-clinic.vectors")] == index


def test_where_no_model_may_serve_it_is_not_ready_and_says_why(tmp_path: Path) -> None:
    run = noshow_project(tmp_path)
    say(run, None, "nothing is promoted")
    serving = ModelSlot(run)
    serving.refresh()
    with client_of(serving) as client:
        assert 503 == client.get("/v2/health/ready").status_code
        ready = client.get(f"{MODEL}/ready")
        assert (503, False) == (ready.status_code, ready.json()["ready"])
        index = client.post("/v2/repository/index").json()
        for reason in (ready.json()["error"], index[0]["reason"]):
            assert "nothing is promoted" in reason
        assert {"UNAVAILABLE"} == {each["state"] for each in index}
        assert 409 == infer(client).status_code


def test_ready_vectors_are_predicted_and_traced_as_such(client: TestClient, run: Run) -> None:
    """The log holds what the caller gave."""
    metadata = client.get(VECTOR_MODEL).json()["inputs"]
    vector = {each["name"]: "north" if each["datatype"] == "BYTES" else 0.25 for each in metadata}
    answer = client.post("/v1/models/noshow-clinic.vectors:predict", json={"instances": [vector]})
    assert 200 == answer.status_code, answer.text
    detail = {"model_version": 1, "arm": "champion", "rung": "given", "feature_ages": {}}
    assert ("noshow-clinic.vectors", [detail]) == (answer.json()["model_name"], answer.json()["details"])
    row = PredictionLog.open(run).find(answer.json()["prediction_ids"][0])
    assert (vector, "noshow-clinic", {}) == (json.loads(row["vector"]), row["model_name"], row["features"])
    found = PredictionLog.open(run).read(run.period("fresh"))
    assert "vector" in found.column_names


def test_a_number_that_is_missing_in_binary_form_is_nan(client: TestClient) -> None:
    """As null in JSON."""
    metadata = client.get(VECTOR_MODEL).json()["inputs"]
    names = [each["name"] for each in metadata if each["datatype"] == "FP64"]
    texts = [each["name"] for each in metadata if each["datatype"] == "BYTES"]
    inputs = [{"name": name, "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}} for name in names]
    inputs += [{"name": name, "datatype": "BYTES", "shape": [0], "data": []} for name in texts]
    header = json.dumps({"inputs": inputs}).encode()
    answers = [
        client.post(
            f"{VECTOR_MODEL}/infer",
            content=header + struct.pack("<d", float("nan")) * len(names),
            headers={HEADER_LENGTH: str(len(header))},
        ).json()["outputs"][0]["data"],
        client.post(
            "/v1/models/noshow-clinic.vectors:predict", json={"instances": [dict.fromkeys([*names, *texts])]}
        ).json()["predictions"],
    ]
    assert answers[0] == answers[1]
