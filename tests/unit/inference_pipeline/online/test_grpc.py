"""The Open Inference Protocol over gRPC, on a real port."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest

from inference_pipeline.online import grpc_server
from inference_pipeline.online.access.key_file import KeyFile
from inference_pipeline.online.access.request_counts import RequestCounts
from inference_pipeline.online.bodies import MAX_BODY
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.grpc_messages import message
from inference_pipeline.online.protocols.port import KEY_HEADER
from inference_pipeline.online.served import Served
from ratchet.core.environment import Environment
from ratchet.core.errors import SettingsError
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.run import Run
from tests.support.champions import fixed_predictor
from tests.support.grpc_client import Client, no_keys, running, tensors
from tests.support.releases import say, slot
from tests.support.runs import noshow_project

INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T00:00:00Z"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return noshow_project(tmp_path_factory.mktemp("grpc"))


@pytest.fixture(scope="module")
def client(run: Run) -> Iterator[Client]:
    with running(slot(run, fixed_predictor)) as client:
        yield client


def outputs(answer: Any) -> dict[str, bytes]:
    return {each.name: raw for each, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)}


def test_an_answer_is_what_the_log_holds(client: Client, run: Run) -> None:
    answer = client.infer(id="mine")
    assert ("noshow-clinic", "1", "mine") == (answer.model_name, answer.model_version, answer.id)
    found = outputs(answer)
    row = PredictionLog.open(run).find(found["prediction_id"][4:].decode())
    assert (row["prediction"],) == struct.unpack("<d", found["prediction"])
    assert (86400.0,) == struct.unpack("<d", found["feature_age.patient_history"])
    assert 12 == row["request"]["booked_days_ahead"]


def test_what_is_known_of_the_service_and_its_models(client: Client) -> None:
    """As over REST."""
    assert (True, True) == (client("ServerLive").live, client("ServerReady").ready)
    assert ("ratchet", ["binary_tensor_data"]) == (client("ServerMetadata").name, client("ServerMetadata").extensions)
    assert client("ModelReady", name="noshow-clinic", version="1").ready
    metadata = client("ModelMetadata", name="noshow-clinic")
    inputs = {each.name: (each.datatype, list(each.shape)) for each in metadata.inputs}
    assert {**dict.fromkeys(INSTANCE, ("BYTES", [-1])), "booked_days_ahead": ("INT64", [-1])} == inputs
    index = client("RepositoryIndex").models
    assert [("noshow-clinic", "READY"), ("noshow-clinic.vectors", "READY")] == [
        (each.name, each.state) for each in index
    ]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"model_name": "other"}, "NOT_FOUND", "noshow-clinic"),
        ({"model_version": "7"}, "NOT_FOUND", "version 1"),
        ({"inputs": []}, "INVALID_ARGUMENT", "instances"),
        ({"inputs": tensors({**INSTANCE, "booked_days_ahead": "12"})}, "INVALID_ARGUMENT", "instances[0].booked_days"),
        ({"inputs": tensors({**INSTANCE, "reminder_at": "20250701"})}, "INVALID_ARGUMENT", "RFC 3339"),
        ({"raw_input_contents": [b""]}, "INVALID_ARGUMENT", "raw_input_contents"),
        ({"inputs": [{"name": "patient", "datatype": "BF16", "shape": [1]}]}, "INVALID_ARGUMENT", "BF16"),
        ({"inputs": [{"name": "a", "datatype": "BYTES", "contents": {"bytes_contents": [b"\xff"]}}]}, *2 * ("",)),
        ({"outputs": [{"name": "predictions"}]}, "INVALID_ARGUMENT", "'predictions'"),
    ],
)
def test_what_is_wrong_is_named(client: Client, changes: dict[str, Any], code: str, words: str) -> None:
    """With a code that says whose fault it is."""
    with pytest.raises(grpc.RpcError) as raised:
        client.infer(**changes)
    assert (code or "INVALID_ARGUMENT") == raised.value.code().name
    assert words in raised.value.details()


def test_a_message_that_is_too_large_is_refused(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        client.infer(raw_input_contents=[b" " * MAX_BODY])
    assert "RESOURCE_EXHAUSTED" == raised.value.code().name


def test_a_callers_key_gives_the_same_answer_again(client: Client) -> None:
    """And another request with the key is refused, as over REST."""
    key = ((KEY_HEADER.lower(), "visit-1"),)
    first, second = (outputs(client.infer(key)) for _ in range(2))
    assert first == second
    assert [None, "true"] == [
        client.after(((KEY_HEADER.lower(), name),)).get("idempotent-replayed") for name in ("visit-2", "visit-2")
    ]
    with pytest.raises(grpc.RpcError) as raised:
        client.infer(key, inputs=tensors({**INSTANCE, "clinic": "south"}))
    assert "ABORTED" == raised.value.code().name


def test_explanations_are_a_parameter(client: Client) -> None:
    """The model of this test is scikit-learn's, which has none."""
    with pytest.raises(grpc.RpcError) as raised:
        client.infer(parameters={"explain": {"bool_param": True}})
    assert ("FAILED_PRECONDITION", True) == (raised.value.code().name, "explained" in raised.value.details())


def test_a_model_that_may_not_serve_says_why(tmp_path: Path) -> None:
    run = noshow_project(tmp_path)
    say(run, None, "nothing is promoted")
    serving = ModelSlot(run)
    serving.refresh()
    with running(serving) as client:
        assert (False, False) == (client("ServerReady").ready, client("ModelReady", name="noshow-clinic").ready)
        with pytest.raises(grpc.RpcError) as raised:
            client.infer()
    assert ("FAILED_PRECONDITION", True) == (raised.value.code().name, "nothing is promoted" in raised.value.details())


def test_an_answer_whose_caller_has_gone_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops waiting never got it. The turns of the loop end when the server has heard of it."""
    run, asked = noshow_project(tmp_path), Event()
    monkeypatch.setattr(grpc_server, "TURNS", 10**9)

    class Waits(Predictor):
        async def predict(self, *args: Any, **options: Any) -> Any:
            found = await super().predict(*args, **options)
            asked.set()
            return found

    def load(*args: Any) -> Predictor:
        made = fixed_predictor(*args)
        return Waits(**{name: getattr(made, name) for name in made.__dataclass_fields__})

    serving = slot(run, load)
    with running(serving) as client:
        call = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(
            message("ModelInferRequest")(model_name="noshow-clinic", inputs=tensors(INSTANCE)).SerializeToString()
        )
        assert asked.wait(30)
        call.cancel()
    serving.close()
    marks = [
        json.loads(line) for path in run.paths.online_log.rglob("*.marks") for line in path.read_text().splitlines()
    ]
    assert ["undelivered"] == [mark["mark"] for mark in marks]


def test_a_key_is_needed_where_there_are_keys(tmp_path: Path) -> None:
    """With the role, as over REST; explanations by a parameter need another one, and probes none."""
    run, file = noshow_project(tmp_path), KeyFile(tmp_path / "keys.json")
    text = file.add("app", ["predict"], ["noshow-clinic"], "", datetime.now(UTC))
    access = no_keys(file.path)
    with running(slot(run, fixed_predictor), access=access) as client:
        assert client("ServerReady").ready
        key = (("authorization", f"Bearer {text}"),)
        assert "noshow-clinic" == client.infer(key).model_name
        explain = {"parameters": {"explain": {"bool_param": True}}}
        codes = [
            refused(client.infer),
            refused(client.infer, (("authorization", "Bearer other"),)),
            refused(client.infer, key, **explain),
            refused(client, "ModelMetadata", name="noshow-clinic"),
        ]
    assert ["UNAUTHENTICATED", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNAUTHENTICATED"] == codes


def refused(call: Callable[..., Any], *arguments: Any, **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, **fields)
    return str(raised.value.code().name)


def test_an_address_that_cannot_be_used_is_named() -> None:
    async def start() -> None:
        await grpc_server.start(Served([]), no_keys(), Environment(grpc="no.such.host.invalid:1"), RequestCounts())

    with pytest.raises(SettingsError, match="RATCHET_GRPC"):
        asyncio.run(start())
