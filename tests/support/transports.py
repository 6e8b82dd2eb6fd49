"""The same question through every protocol, as a client would send it, and the answer's predictions as numbers."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols import PROTOCOLS, grpc
from inference_pipeline.online.protocols.grpc_messages import message
from inference_pipeline.online.protocols.port import Body

Row = Mapping[str, Any]
Ask = Callable[[Predictor, str, Sequence[Row]], list[float]]
"""A predictor, the end of the model's name and instances → a prediction for each."""


def _over_http(protocol: str, predictor: Predictor, form: str, content: bytes, **headers: str) -> bytes:
    body = Body(content, {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()})
    asked = PROTOCOLS[protocol].read(predictor.instances[form], body)
    return asked.answer(asyncio.run(predictor.predict(asked.inputs))).content


def v1(predictor: Predictor, form: str, rows: Sequence[Row]) -> list[float]:
    content = json.dumps({"instances": [dict(row) for row in rows]}).encode()
    return list(json.loads(_over_http("v1", predictor, form, content))["predictions"])


def v2_json(predictor: Predictor, form: str, rows: Sequence[Row]) -> list[float]:
    content = json.dumps(PROTOCOLS["v2"].body(rows)).encode()
    outputs = json.loads(_over_http("v2", predictor, form, content))["outputs"]
    return next(list(each["data"]) for each in outputs if each["name"] == "prediction")


def v2_binary(predictor: Predictor, form: str, rows: Sequence[Row]) -> list[float]:
    """Rows in which the same fields are missing are sent together."""
    return [value for part in _alike(rows) for value in _v2_binary(predictor, form, part)]


def _v2_binary(predictor: Predictor, form: str, rows: Sequence[Row]) -> list[float]:
    tensors = list(_tensors(rows))
    inputs = [
        {"name": name, "datatype": kind, "shape": [count], "parameters": {"binary_data_size": len(data)}}
        for name, kind, count, data in tensors
    ]
    outputs = [{"name": "prediction", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    content = header + b"".join(data for *_, data in tensors)
    answer = _over_http("v2", predictor, form, content, inference_header_content_length=str(len(header)))
    return list(struct.unpack(f"<{len(rows)}d", answer[-8 * len(rows) :]))


def over_grpc(predictor: Predictor, form: str, rows: Sequence[Row]) -> list[float]:
    """As bytes on the wire, there and back."""
    return [value for part in _alike(rows) for value in _over_grpc(predictor, form, part)]


def _over_grpc(predictor: Predictor, form: str, rows: Sequence[Row]) -> list[float]:
    tensors = list(_tensors(rows))
    inputs = [{"name": name, "datatype": kind, "shape": [count]} for name, kind, count, _ in tensors]
    request = message("ModelInferRequest")(inputs=inputs, raw_input_contents=[data for *_, data in tensors])
    request = message("ModelInferRequest").FromString(request.SerializeToString())
    predictions = asyncio.run(predictor.predict(grpc.read(predictor.instances[form], request)))
    answer = message("ModelInferResponse").FromString(grpc.answer(request, predictions).SerializeToString())
    place = [each.name for each in answer.outputs].index("prediction")
    return list(struct.unpack(f"<{len(rows)}d", answer.raw_output_contents[place]))


TRANSPORTS: Mapping[str, Ask] = {"v1": v1, "v2-json": v2_json, "v2-binary": v2_binary, "grpc": over_grpc}


def _alike(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows in order, those beside each other together if the same fields that are no fractions are missing."""
    yield from (list(part) for _, part in groupby(rows, _missing))


def _missing(row: Row) -> tuple[str, ...]:
    return tuple(name for name, value in row.items() if value is None)


def _tensors(rows: Sequence[Row]) -> Iterator[tuple[str, str, int, bytes]]:
    """Each field's name, datatype, number of values, and its values in the protocol's binary form."""
    for name in rows[0]:
        values = [row[name] for row in rows]
        if values[0] is None:
            yield name, "BYTES", 0, b""
        elif isinstance(values[0], str):
            texts = [value.encode() for value in values]
            yield name, "BYTES", len(values), b"".join(struct.pack("<I", len(text)) + text for text in texts)
        else:
            kind = {bool: "BOOL", int: "INT64", float: "FP64"}[type(values[0])]
            form = {"BOOL": "?", "INT64": "<i8", "FP64": "<f8"}[kind]
            yield name, kind, len(values), np.array(values, form).tobytes()
