"""Whatever callers send, no answer is an error of the service: from the OpenAPI document, and by mutation of sound requests."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from inference_pipeline.online.loader import Loader
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.grpc_messages import message
from inference_pipeline.online.protocols.v2_bodies import HEADER_LENGTH
from inference_pipeline.online.rest import Application
from inference_pipeline.online.served import Served
from ratchet.project.run import Run
from tests.support.grpc_client import Client, running
from tests.support.grpc_client import tensors as tensors_of
from tests.support.registry import copied

INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}
PATHS = {
    "v1": (
        "/v1/models/noshow-clinic:predict",
        "/v1/models/noshow-clinic:explain",
        "/v1/models/noshow-clinic.vectors:predict",
    ),
    "v2": ("/v2/models/noshow-clinic/infer", "/v2/models/noshow-clinic/versions/2/infer"),
}
ODD = [None, True, -1, 2**63, 1e308, 0.1, "", "\x00", "\ud800", "ü" * 50, [], {}, [[]], "2024-07-20", "20250701", "NaN"]


@pytest.fixture(scope="module")
def run(serving_project: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = copied(serving_project, tmp_path_factory.mktemp("fuzz") / "project")
    Loader(run).refresh()
    return run


@pytest.fixture
def app(run: Run) -> Iterator[Any]:
    """The service, as it is in each serving process."""
    slot, app = ModelSlot(run), Application()
    slot.refresh()
    app.attach(Served([slot]))
    yield app
    slot.close()


@pytest.fixture
def document(app: Any) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("mode", GenerationMode)
def test_what_the_document_allows_is_answered(document: Any, mode: GenerationMode) -> None:
    """And what it does not is refused, with the codes, types and bodies that it says.

    Something that it allows may be refused all the same: no schema says that 3.0 is no whole number, and 1969 too early.
    """
    for found in document.get_all_operations():

        @given(case=found.ok().as_strategy(generation_mode=mode))
        @settings(
            max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        def check(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        with suppress(Unsatisfiable):  # an operation without a parameter has nothing that could be wrong
            check()


def mutated(chance: random.Random, value: Any) -> Any:
    """A value in which something is different, somewhere."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice([*value])
        return {**value, name: mutated(chance, value[name])}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(chance, value[place]), *value[place + 1 :]]
    return chance.choice(ODD)


def corrupted(chance: random.Random, content: bytes) -> bytes:
    """Bytes of which some are cut, doubled or different."""
    start, end = sorted(chance.choices(range(len(content) + 1), k=2))
    middle = chance.choice([b"", content[start:end] * 2, chance.randbytes(chance.randrange(8))])
    return content[:start] + middle + content[end:]


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_no_body_makes_the_service_fail(app: Any, count: int) -> None:
    """Mutated as JSON or as bytes, with odd headers."""
    chance = random.Random(11)
    with TestClient(app) as client:
        for number in range(count):
            protocol = chance.choice([*PATHS])
            content = json.dumps(
                mutated(chance, PROTOCOLS[protocol].body([INSTANCE] * chance.randrange(1, 4)))
            ).encode()
            if chance.random() < 0.3:
                content = corrupted(chance, content)
            headers = {"content-type": "application/json"}
            if chance.random() < 0.2:
                headers[HEADER_LENGTH] = str(chance.choice([0, len(content) // 2, len(content)]))
            answer = client.post(chance.choice(PATHS[protocol]), content=content, headers=headers)
            assert answer.status_code in (200, 400, 413, 415, 422), (number, content, answer.text)
            assert 200 == answer.status_code or "error" in answer.json()


@pytest.fixture
def over_grpc(run: Run) -> Iterator[Client]:
    slot = ModelSlot(run)
    slot.refresh()
    with running(slot) as client:
        yield client
    slot.close()


def odd_message(chance: random.Random) -> dict[str, Any]:
    """A request for predictions in which something may be different, somewhere, as protobuf can still represent it."""
    tensors = [dict(each) for each in tensors_of(INSTANCE)]
    for tensor in tensors:
        if chance.random() < 0.2:
            tensor["shape"] = chance.choices([0, 1, 2, -1, 1000, 2**40], k=chance.randrange(4))
        if chance.random() < 0.2:
            tensor["datatype"] = chance.choice(["BOOL", "INT64", "FP16", "FP64", "BYTES", "", "fp64"])
        if chance.random() < 0.2:
            tensor["contents"] = chance.choice(
                [
                    {},
                    {"bytes_contents": [b"\xff", b""]},
                    {"fp64_contents": [float("nan")]},
                    {"int64_contents": [-(2**63)]},
                ]
            )
    chance.shuffle(tensors)
    raw = chance.choices([b"", b"\x00" * 8, b"\xff" * 9, b"\x05\x00\x00\x00north"], k=chance.randrange(6))
    return {
        "model_name": chance.choice(["noshow-clinic"] * 5 + ["noshow-clinic.vectors", "other", ""]),
        "inputs": tensors[: chance.randrange(1, 6)],
        "raw_input_contents": raw if chance.random() < 0.2 else [],
    }


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_no_message_makes_the_service_fail(over_grpc: Client, count: int) -> None:
    """Odd messages, and bytes that may be none."""
    chance, codes = random.Random(12), Counter[str]()
    for _ in range(count):
        content = message("ModelInferRequest")(**odd_message(chance)).SerializeToString()
        codes[over_grpc.send(corrupted(chance, content) if chance.random() < 0.3 else content)] += 1
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} == {*codes}
