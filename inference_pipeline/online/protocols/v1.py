"""KServe's V1: POST /v1/models/{name}:predict with `{"instances": […]}`, GET /v1/models/{name} and GET /v1/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from inference_pipeline.online.protocols.json_body import refuse_duplicate_keys
from inference_pipeline.online.protocols.port import Prediction, Predictions, Reader
from inference_pipeline.online.requests import STRICT, RequestReader, Requests

if TYPE_CHECKING:
    from inference_pipeline.online.release import Release

MAX_INSTANCES = 1000


class V1:
    """KServe's V1. Besides `predictions`, the answer has an id for each prediction, and how it was made."""

    predict_path = "/v1/models/{name}:predict"
    status_path = "/v1/models/{name}"
    list_path = "/v1/models"

    def reader(self, requests: RequestReader) -> Reader:
        instances = (list[requests.instance], Field(min_length=1, max_length=MAX_INSTANCES))  # type: ignore[name-defined]
        validator = create_model("Body", __config__=STRICT, instances=instances).__pydantic_validator__

        def read(body: bytes) -> Requests:
            valid: Any = validator.validate_json(body)
            refuse_duplicate_keys(body)
            return requests.read(valid.instances, _place)

        return read

    def answer(self, predictions: Predictions) -> Any:
        rows = predictions.rows
        return {
            "predictions": [row.value for row in rows],
            "prediction_ids": [row.id for row in rows],
            "model_name": predictions.model_name,
            "details": [_detail(row) for row in rows],
        }

    def status(self, release: Release) -> Any:
        return {
            "name": release.model_name,
            "ready": True,
            "version": release.champion.version,
            "digest": release.champion.digest,
            "feature_service": release.champion.feature_service,
        }

    def listing(self, names: Sequence[str]) -> Any:
        return {"models": sorted(names)}

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        return {"instances": list(instances)}


def _detail(row: Prediction) -> dict[str, Any]:
    return {
        "model_version": row.model_version,
        "arm": row.arm,
        "rung": row.rung,
        "feature_ages": row.feature_ages,
    }


def _place(row: int, field: str) -> str:
    return f"instances[{row}].{field}"
