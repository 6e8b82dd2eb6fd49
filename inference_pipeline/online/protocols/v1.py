"""KServe's V1: POST /v1/models/{name}:predict with `{"instances": […]}`, GET /v1/models/{name} and GET /v1/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from inference_pipeline.online.protocols.port import Predictions, Reader
from inference_pipeline.online.requests import STRICT, Requests
from ratchet.use_case.contract import Columns, UseCase

if TYPE_CHECKING:
    from ratchet.model_registry.champion import Champion

MAX_INSTANCES = 1000


class V1:
    """KServe's V1. Besides `predictions`, the answer has an id for each prediction and the version that made them."""

    predict_path = "/v1/models/{name}:predict"
    status_path = "/v1/models/{name}"
    list_path = "/v1/models"

    def reader(self, use_case: UseCase) -> Reader:
        requests = Requests(use_case)
        instances = (list[requests.instance], Field(min_length=1, max_length=MAX_INSTANCES))  # type: ignore[name-defined]
        model = create_model("Body", __config__=STRICT, instances=instances)

        def read(body: bytes) -> Columns:
            valid: Any = model.model_validate_json(body)
            return requests.columns(valid.instances, _place)

        return read

    def answer(self, predictions: Predictions) -> Any:
        return {
            "predictions": predictions.values.tolist(),
            "prediction_ids": list(predictions.ids),
            "model_name": predictions.model_name,
            "model_version": predictions.model_version,
        }

    def status(self, champion: Champion) -> Any:
        contract = champion.model.contract
        return {
            "name": contract.model_name,
            "ready": True,
            "version": champion.version,
            "digest": champion.model.digest,
            "feature_service": contract.feature_service,
        }

    def listing(self, names: Sequence[str]) -> Any:
        return {"models": sorted(names)}

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        return {"instances": list(instances)}


def _place(row: int, field: str) -> str:
    return f"instances[{row}].{field}"
