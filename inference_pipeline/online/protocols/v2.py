"""The Open Inference Protocol, version 2, over REST, with its extension for tensors in binary form.

The request's parameter `explain` asks for an explanation, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from inference_pipeline.online.instances import ColumnKind, InstanceReader
from inference_pipeline.online.protocols import v2_bodies
from inference_pipeline.online.protocols.json_schemas import (
    BOOLEAN,
    NUMBER,
    TEXT,
    WHOLE_NUMBER,
    a_list,
    a_mapping,
    an_object,
    or_null,
)
from inference_pipeline.online.protocols.port import Asked, Body, Inputs, Models, Show
from inference_pipeline.online.protocols.tensors import (
    BOOL,
    BYTES,
    FLOAT,
    INTEGER,
    OF_KIND,
    instances_of,
    require_outputs,
)
from inference_pipeline.online.protocols.v2_metadata import model_metadata, repository_index, server_metadata


def _server(_models: Models, _path: Mapping[str, str]) -> tuple[int, Any]:
    return 200, server_metadata()


def _live(_models: Models, _path: Mapping[str, str]) -> tuple[int, Any]:
    return 200, {"live": True}


def _ready(models: Models, _path: Mapping[str, str]) -> tuple[int, Any]:
    is_ready = models.is_ready()
    parts = {name: [*found] for name in models.names() if (found := models.problems(name))}  # why is not for everybody
    return 200 if is_ready else 503, {"ready": is_ready, "problems": parts}


def _model(models: Models, path: Mapping[str, str]) -> tuple[int, Any]:
    return 200, model_metadata(models, path["name"], path.get("version"))


def _model_ready(models: Models, path: Mapping[str, str]) -> tuple[int, Any]:
    if problem := models.problem(path["name"]):
        return 503, {"name": path["name"], "ready": False, "error": problem}
    models.metadata(path["name"], path.get("version"))
    return 200, {"name": path["name"], "ready": True}


def _index(models: Models, _path: Mapping[str, str]) -> tuple[int, Any]:
    return 200, repository_index(models)


_MODEL, _VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"


class V2:
    """The Open Inference Protocol over REST."""

    asks: Mapping[str, bool] = {f"{_MODEL}/infer": False, f"{_VERSION}/infer": False}
    shows: Mapping[tuple[str, str], Show] = {
        ("GET", "/v2"): _server,
        ("GET", "/v2/health/live"): _live,
        ("GET", "/v2/health/ready"): _ready,
        ("POST", "/v2/repository/index"): _index,
        ("GET", _MODEL): _model,
        ("GET", _VERSION): _model,
        ("GET", f"{_MODEL}/ready"): _model_ready,
        ("GET", f"{_VERSION}/ready"): _model_ready,
    }
    media_types: Sequence[str] = ("application/json", "application/octet-stream", "")

    def read(self, instances: InstanceReader[Inputs], body: Body) -> Asked:
        request, tensors = v2_bodies.read(body)
        require_outputs([each.name for each in request.outputs], instances, explains=request.parameters.explain)
        inputs = instances.read_rows(instances_of(tensors))
        return Asked(inputs, partial(v2_bodies.answer, request), request.parameters.explain)

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        return v2_bodies.example(instances)

    def schemas(self, _instance: Mapping[str, Any], kinds: Mapping[str, ColumnKind]) -> tuple[Any, Any]:
        tensors = [
            an_object(
                {
                    "name": {"const": name},
                    "datatype": {"const": OF_KIND[kind]},
                    "shape": a_list(WHOLE_NUMBER, minItems=1, maxItems=2),
                    "data": a_list(or_null(_JSON_TYPES[OF_KIND[kind]])),
                }
            )
            for name, kind in kinds.items()
        ]
        body = {
            "inputs": a_list({"anyOf": tensors}, minItems=1),
            "id": TEXT,
            "parameters": an_object({"explain": BOOLEAN}, "explain"),
            "outputs": a_list(an_object({"name": TEXT})),
        }
        return an_object(body, "id", "parameters", "outputs"), _ANSWER


_JSON_TYPES = {BYTES: TEXT, FLOAT: NUMBER, INTEGER: WHOLE_NUMBER, BOOL: BOOLEAN}
_OUTPUT = {
    "name": TEXT,
    "datatype": TEXT,
    "shape": a_list(WHOLE_NUMBER),
    "data": a_list({}),
    "parameters": a_mapping({}),
}
_ANSWER = an_object(
    {
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "outputs": a_list(an_object(_OUTPUT, "data", "parameters")),
    },
    "id",
)
