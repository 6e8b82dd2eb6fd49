"""NVIDIA's clients of the Open Inference Protocol, over HTTP and gRPC, as they are, against a running service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ratchet.project.run import Run
from tests.support.checkout import ROOT
from tests.support.ports import free_port
from tests.support.registry import copied
from tests.support.serving import Server, running

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-08-01T00:00:00Z"}
CODE = """
import importlib, json, sys
import numpy as np
kind, address, vector = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
triton = importlib.import_module(f"tritonclient.{kind}")
client = triton.InferenceServerClient(address)

def tensor(name, datatype, values):
    made = triton.InferInput(name, [len(values)], datatype)
    made.set_data_from_numpy(np.array(values, {"BYTES": object, "INT64": np.int64, "FP64": np.float64}[datatype]))
    return made

def infer(model, inputs, **options):
    found = client.infer(model, inputs, request_id="mine", **options)
    return {name: found.as_numpy(name).tolist() for name in ("prediction", "prediction_id", "model_version", "rung")}

inputs = [
    tensor("patient", "BYTES", ["p3", "p4"]),
    tensor("clinic", "BYTES", ["north", "south"]),
    tensor("booked_days_ahead", "INT64", [12, 29]),
    tensor("reminder_at", "BYTES", ["2024-08-01T00:00:00Z"] * 2),
]
vectors = [tensor(name, "BYTES" if isinstance(value, str) else "FP64", [value]) for name, value in vector.items()]
named = [triton.InferRequestedOutput(name) for name in ("prediction", "prediction_id", "model_version", "rung")]
key = {"idempotency-key": f"triton-{kind}"}
try:
    client.infer("noshow-clinic", inputs[:2])
    refused = None
except triton.InferenceServerException as error:
    refused = error.message()
metadata = client.get_model_metadata("noshow-clinic", **({"as_json": True} if kind == "grpc" else {}))
index = client.get_model_repository_index(**({"as_json": True} if kind == "grpc" else {}))
print(json.dumps({
    "live": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("noshow-clinic")],
    "server": client.get_server_metadata(**({"as_json": True} if kind == "grpc" else {}))["name"],
    "inputs": [each["name"] for each in metadata["inputs"]],
    "index": [each["name"] for each in (index["models"] if kind == "grpc" else index)],
    "all": infer("noshow-clinic", inputs),
    "named": infer("noshow-clinic", inputs, outputs=named),
    "keyed": [infer("noshow-clinic", inputs, headers=key) for _ in range(2)],
    "vectors": infer("noshow-clinic.vectors", vectors),
    "refused": refused,
}, default=lambda value: value.decode()))
"""


@pytest.fixture(scope="module")
def grpc_address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def server(prepared_to_serve: Run, tmp_path_factory: pytest.TempPathFactory, grpc_address: str) -> Iterator[Server]:
    if not PYTHON.exists():
        pytest.skip("there is no environment of clients: `make .venv-clients/.complete`")
    run = copied(prepared_to_serve, tmp_path_factory.mktemp("triton") / "project")
    with running(run, RATCHET_GRPC=grpc_address) as server:
        yield server


def asked(kind: str, address: str, vector: dict[str, Any]) -> dict[str, Any]:
    command = [str(PYTHON), "-c", CODE, kind, address, json.dumps(vector)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path("/"))
    assert not done.returncode, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_it_gets_the_same_answers(server: Server, grpc_address: str, kind: str) -> None:
    """As a caller of V1: predictions bit for bit, and the same words where something is wrong."""
    metadata = server.client.get("/v2/models/noshow-clinic.vectors").json()["inputs"]
    vector = {each["name"]: "north" if each["datatype"] == "BYTES" else 0.25 for each in metadata}
    address = grpc_address if kind == "grpc" else server.client.base_url.netloc.decode()
    found = asked(kind, address, vector)
    assert ([True] * 3, "ratchet", [*INSTANCE]) == (found["live"], found["server"], found["inputs"])
    assert ["noshow-clinic", "noshow-clinic.vectors"] == found["index"]
    instances = [INSTANCE, {**INSTANCE, "patient": "p4", "clinic": "south", "booked_days_ahead": 29}]
    expected = server.client.post(f"{server.model}:predict", json={"instances": instances}).json()
    rungs = [detail["rung"] for detail in expected["details"]]
    for name in ("all", "named"):
        assert (expected["predictions"], rungs) == (found[name]["prediction"], found[name]["rung"])
    assert found["keyed"][0] == found["keyed"][1]
    given = server.client.post(f"{server.model}.vectors:predict", json={"instances": [vector]}).json()
    assert (given["predictions"], ["given"]) == (found["vectors"]["prediction"], found["vectors"]["rung"])
    assert "instances[0].booked_days_ahead" in found["refused"]
