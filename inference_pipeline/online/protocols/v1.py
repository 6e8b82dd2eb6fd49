"""KServe's V1: POST /v1/models/{name}:predict and :explain with `{"instances": […]}`, GET /v1/models/{name} and /v1/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from inference_pipeline.online.access.nesting import require_shallow
from inference_pipeline.online.instances import MAX_INSTANCES, ColumnKind, InstanceReader
from inference_pipeline.online.protocols.json_body import refuse_duplicate_keys
from inference_pipeline.online.protocols.json_schemas import (
    NUMBER,
    TEXT,
    WHOLE_NUMBER,
    a_list,
    a_mapping,
    an_object,
    or_null,
)
from inference_pipeline.online.protocols.port import (
    Answer,
    Asked,
    Body,
    Inputs,
    Models,
    Prediction,
    Predictions,
    Show,
)

_JSON = MappingProxyType({"content-type": "application/json"})


def _list(models: Models, _path: Mapping[str, str]) -> tuple[int, Any]:
    return 200, {"models": list(models.names())}


def _status(models: Models, path: Mapping[str, str]) -> tuple[int, Any]:
    release, _ = models.metadata(path["name"])
    return 200, {
        "name": path["name"],
        "ready": True,
        "version": release.champion.version,
        "digest": release.champion.digest,
        "feature_service": release.champion.feature_service,
    }


class V1:
    """KServe's V1. Besides `predictions`, the answer has an id for each prediction, and how it was made."""

    asks: Mapping[str, bool] = {"/v1/models/{name}:predict": False, "/v1/models/{name}:explain": True}
    shows: Mapping[tuple[str, str], Show] = {("GET", "/v1/models"): _list, ("GET", "/v1/models/{name}"): _status}
    media_types: Sequence[str] = ("application/json",)

    def read(self, instances: InstanceReader[Inputs], body: Body) -> Asked:
        require_shallow(body.content)
        inputs = instances.read_json(body.content)
        each = instances.keys_each
        refuse_duplicate_keys(body.content, None if each is None else 1 + each * len(inputs))
        return Asked(inputs, _answer, body.explains)

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        return {"instances": list(instances)}

    def schemas(self, instance: Mapping[str, Any], _kinds: Mapping[str, ColumnKind]) -> tuple[Any, Any]:
        return an_object({"instances": a_list(dict(instance), minItems=1, maxItems=MAX_INSTANCES)}), _ANSWER


def _answer(predictions: Predictions) -> Answer:
    rows = predictions.rows
    content: dict[str, Any] = {
        "predictions": [row.value for row in rows],
        "prediction_ids": [row.id for row in rows],
        "model_name": predictions.model_name,
        "details": [_detail(row) for row in rows],
    }
    explained = [row.explanation for row in rows if row.explanation]
    if explained:
        content["explanations"] = [
            {"base_value": each.base_value, "contributions": each.contributions, "scale": each.scale}
            for each in explained
        ]
    return Answer(_ENCODER.encode(content), _JSON)


_ENCODER = msgspec.json.Encoder()


def _detail(row: Prediction) -> dict[str, Any]:
    return {
        "model_version": row.model_version,
        "arm": row.arm,
        "rung": row.rung,
        "feature_ages": row.feature_ages,
    }


_ANSWER = an_object(
    {
        "predictions": a_list(NUMBER),
        "prediction_ids": a_list(TEXT),
        "model_name": TEXT,
        "details": a_list(
            an_object(
                {
                    "model_version": WHOLE_NUMBER,
                    "arm": TEXT,
                    "rung": {"enum": ["fresh", "tolerated", "baseline", "given"]},
                    "feature_ages": a_mapping(or_null(NUMBER)),
                }
            )
        ),
        "explanations": a_list(
            an_object({"base_value": NUMBER, "contributions": a_mapping(NUMBER), "scale": TEXT}),
        ),
    },
    "explanations",
)
