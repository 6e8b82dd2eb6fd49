"""Bodies of the Open Inference Protocol over REST: JSON, which tensors in binary form may follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException

from inference_pipeline.online.access.nesting import require_shallow
from inference_pipeline.online.protocols.json_body import refuse_duplicate_keys
from inference_pipeline.online.protocols.port import Answer, Body, Predictions
from inference_pipeline.online.protocols.tensors import (
    BOOL,
    BYTES,
    FLOAT,
    INTEGER,
    Tensor,
    from_bytes,
    output,
    outputs_of,
    to_bytes,
)
from ratchet.core.errors import RequestError

HEADER_LENGTH = "inference-header-content-length"
"""The header with the length of the JSON, if tensors in binary form follow it."""
_MOST_DIGITS = 9
"""Of that length. Python refuses to read numbers of some thousand digits."""


class _Parameters(msgspec.Struct):
    explain: bool = False
    binary_data_output: bool = False


class _TensorParameters(msgspec.Struct, frozen=True):
    binary_data_size: int | None = None
    binary_data: bool | None = None


_NO_PARAMETERS = _TensorParameters()


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: _TensorParameters = _NO_PARAMETERS


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: _TensorParameters = _NO_PARAMETERS


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Input]
    id: str = ""
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)
    outputs: list[_Output] = []


_DECODER, _ENCODER = msgspec.json.Decoder(InferRequest), msgspec.json.Encoder()


def read(body: Body) -> tuple[InferRequest, list[Tensor]]:
    """A request, and its tensors. Raises RequestError, or HTTPException 400 if it is no JSON."""
    header, binary = _parts(body)
    require_shallow(header)
    request = _decoded(header)
    refuse_duplicate_keys(header)
    return request, [*_tensors(request.inputs, binary)]


def example(instances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A request with instances, in JSON."""
    names = dict.fromkeys(name for instance in instances for name in instance)
    return {"inputs": [_sent(name, [instance.get(name) for instance in instances]) for name in names]}


def _sent(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """A column of an example as a tensor."""
    some = next((value for value in values if value is not None), None)
    datatype = next((each for kind, each in _DATATYPES.items() if isinstance(some, kind)), BYTES)
    data = [] if some is None else list(values)
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


_DATATYPES = {bool: BOOL, int: INTEGER, float: FLOAT, str: BYTES}


def _parts(body: Body) -> tuple[bytes, bytes]:
    """The JSON of a body, and what follows it."""
    length = body.headers.get(HEADER_LENGTH.encode())
    if length is None:
        return body.content, b""
    if not (length.isdigit() and len(length) <= _MOST_DIGITS and int(length) <= len(body.content)):
        raise HTTPException(400, f"{HEADER_LENGTH}: must be the number of bytes of the JSON before the tensors")
    return body.content[: int(length)], body.content[int(length) :]


def _decoded(header: bytes) -> InferRequest:
    try:
        return _DECODER.decode(header)
    except msgspec.ValidationError as error:
        raise RequestError(
            str(error), subject="body", remedy="Send an inference request of protocol version 2"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"body: Invalid JSON: {error}") from error


def _tensors(inputs: Sequence[_Input], binary: bytes) -> Iterator[Tensor]:
    """The tensors of a request. Those in binary form follow the JSON in its order."""
    start = 0
    for each in inputs:
        size = each.parameters.binary_data_size
        if (size is None) == (each.data is None):
            raise _wrong_size(f"input {each.name!r}", "must have either `data`, or `binary_data_size`")
        values = [*_flat(each.data or ())] if size is None else _unpacked(each, binary[start : start + size], size)
        yield Tensor(each.name, each.datatype, each.shape, values)
        start += size or 0
    if start < len(binary):
        raise _wrong_size("body", f"has {len(binary) - start} bytes more than its inputs")


def _unpacked(sent: _Input, data: bytes, size: int) -> list[Any]:
    if len(data) != size:
        raise _wrong_size(f"input {sent.name!r}", f"has {len(data)} bytes, not the {size} of `binary_data_size`")
    return from_bytes(sent.name, sent.datatype, data)


def _wrong_size(subject: str, problem: str) -> RequestError:
    return RequestError(problem, subject=subject, remedy="Send what `binary_data_size` says after the JSON")


def _flat(data: Sequence[Any]) -> Iterator[Any]:
    """The values of a list, which may be in lists of one."""
    for value in data:
        yield value[0] if isinstance(value, list) and len(value) == 1 else value


def answer(request: InferRequest, predictions: Predictions) -> Answer:
    outputs: list[Tensor | dict[str, Any]] = []
    tail: list[bytes] = []
    for tensor, is_binary in _wanted(request, outputs_of(predictions)):
        if is_binary:
            tail.append(to_bytes(tensor))
            size = {"binary_data_size": len(tail[-1])}
            outputs.append(
                {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "parameters": size}
            )
        else:
            outputs.append(tensor)
    content: dict[str, Any] = {
        "model_name": predictions.model_name,
        "model_version": str(predictions.model_version),
        **({"id": request.id} if request.id else {}),
        "outputs": outputs,
    }
    header = _ENCODER.encode(content)
    if not tail:
        return Answer(header, {"content-type": "application/json"})
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return Answer(header + b"".join(tail), headers)


def _wanted(request: InferRequest, found: Mapping[str, Tensor]) -> list[tuple[Tensor, bool]]:
    """The outputs that a request names, or all, and whether in binary form."""
    usually = request.parameters.binary_data_output
    if not request.outputs:
        return [(tensor, usually) for tensor in found.values()]
    asked = [(each.name, each.parameters.binary_data) for each in request.outputs]
    return [(output(name, found), usually if is_binary is None else is_binary) for name, is_binary in asked]
