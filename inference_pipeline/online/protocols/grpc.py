"""The Open Inference Protocol, version 2, over gRPC: `inference.GRPCInferenceService`, with what REST has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from inference_pipeline.online.instances import InstanceReader
from inference_pipeline.online.protocols.grpc_messages import message
from inference_pipeline.online.protocols.port import Inputs, Models, Predictions
from inference_pipeline.online.protocols.tensors import (
    BYTES,
    Tensor,
    from_bytes,
    instances_of,
    known,
    output,
    outputs_of,
    require_outputs,
    to_bytes,
)
from inference_pipeline.online.protocols.v2_metadata import model_metadata, repository_index, server_metadata
from ratchet.core.errors import RequestError

Show = Callable[[Models, Any], Mapping[str, Any]]


def _model_ready(models: Models, request: Any) -> dict[str, Any]:
    if is_ready := not models.problem(request.name):
        models.metadata(request.name, request.version or None)
    return {"ready": is_ready}


SHOWS: Mapping[str, Show] = {
    "ServerLive": lambda _models, _request: {"live": True},
    "ServerReady": lambda models, _request: {"ready": models.is_ready()},
    "ServerMetadata": lambda _models, _request: server_metadata(),
    "ModelReady": _model_ready,
    "ModelMetadata": lambda models, request: model_metadata(models, request.name, request.version or None),
    "RepositoryIndex": lambda models, _request: {"models": repository_index(models)},
}
"""Method → the fields of its answer."""
INFER = "ModelInfer"
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Datatype → the field that holds its values, if they are not raw."""


def explains(request: Any) -> bool:
    """Whether a ModelInferRequest asks for explanations."""
    return bool(request.parameters["explain"].bool_param) if "explain" in request.parameters else False


def read(instances: InstanceReader[Inputs], request: Any) -> Inputs:
    """The inputs of a ModelInferRequest. Raises pydantic's ValidationError or a RequestError, which name the fields."""
    require_outputs([each.name for each in request.outputs], instances, explains=explains(request))
    return instances.read_rows(instances_of([*_tensors(request)]))


def _tensors(request: Any) -> Iterator[Tensor]:
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(
            f"has {len(raw)} values for {len(request.inputs)} inputs",
            subject="raw_input_contents",
            remedy="Send one for each input, or none and `contents` in each input",
        )
    contents: Sequence[bytes | None] = raw or [None] * len(request.inputs)
    for each, data in zip(request.inputs, contents, strict=True):
        name, datatype = each.name, each.datatype
        values = _contents(each, datatype) if data is None else from_bytes(name, datatype, data)
        yield Tensor(name, datatype, each.shape[:], values)


def _contents(tensor: Any, datatype: str) -> list[Any]:
    if datatype not in _CONTENTS:
        return from_bytes(tensor.name, datatype, b"")
    values = getattr(tensor.contents, _CONTENTS[datatype])
    return [_text(tensor.name, value) for value in values] if datatype == BYTES else known(values)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"is not UTF-8 ({error})", subject=f"input {name!r}", remedy="Send UTF-8") from error


def answer(request: Any, predictions: Predictions) -> Any:
    """The ModelInferResponse. Its outputs are raw, as those of a request may be."""
    found = outputs_of(predictions)
    names = [each.name for each in request.outputs] or [*found]
    outputs = [output(name, found) for name in names]
    return message("ModelInferResponse")(
        model_name=predictions.model_name,
        model_version=str(predictions.model_version),
        id=request.id,
        outputs=[{"name": each.name, "datatype": each.datatype, "shape": each.shape} for each in outputs],
        raw_output_contents=[to_bytes(each) for each in outputs],
    )
