"""The tensors of the Open Inference Protocol, version 2: one for each field of the instances, with a value for each of them.

A tensor without a value, of shape [0], says that its field is missing in every instance. In numbers with a fraction, NaN says
so of one instance, and in JSON null.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from inference_pipeline.online.instances import ColumnKind, InstanceReader
from inference_pipeline.online.protocols.port import Predictions
from ratchet.core.errors import RequestError

BYTES, FLOAT, INTEGER, BOOL = "BYTES", "FP64", "INT64", "BOOL"
OF_KIND: Mapping[ColumnKind, str] = {
    "string": BYTES,
    "timestamp": BYTES,
    "double": FLOAT,
    "int64": INTEGER,
    "bool": BOOL,
}
"""How a field is kept → the datatype that it should be sent as."""
_FORMATS = {
    "BOOL": "?",
    **{f"INT{8 << size}": letter for size, letter in enumerate("bhiq")},
    **{f"UINT{8 << size}": letter for size, letter in enumerate("BHIQ")},
    **{f"FP{16 << size}": letter for size, letter in enumerate("efd")},
}
"""Datatype → the letter of `struct` for a value in bytes."""
_LENGTH = struct.Struct("<I")


class Tensor(msgspec.Struct, frozen=True):
    """Plain values, with None for what is missing. In JSON they are `data`."""

    name: str
    datatype: str
    shape: list[int]
    values: Sequence[Any] = msgspec.field(name="data")


def instances_of(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """The instances that tensors hold. Raises RequestError if they do not have the same number of values."""
    columns = {tensor.name: tensor.values for tensor in tensors}
    if len(columns) < len(tensors):
        raise _twice([tensor.name for tensor in tensors])
    count = max(map(len, columns.values()), default=0)
    shapes = ([count], [count, 1])
    for tensor in tensors:
        if len(tensor.values) != count or tensor.shape not in shapes:
            columns[tensor.name] = _column(tensor, count)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _twice(names: Sequence[str]) -> RequestError:
    name = next(name for place, name in enumerate(names) if name in names[:place])
    return RequestError("is there twice", subject=f"input {name!r}", remedy="Send it once")


def _column(tensor: Tensor, count: int) -> Sequence[Any]:
    """The values of a tensor that is not like the others: missing in every instance, or wrong."""
    values, shape = tensor.values, tensor.shape
    if shape != [len(values)] and shape != [len(values), 1]:
        raise RequestError(
            f"has {len(values)} values, but the shape {shape}",
            subject=f"input {tensor.name!r}",
            remedy="Send one value for each instance, with the shape [n] or [n, 1]",
        )
    if len(values) not in (0, count):
        raise RequestError(
            f"has {len(values)} values, while another has {count}",
            subject=f"input {tensor.name!r}",
            remedy="Send one value for each instance, or none at all with the shape [0] if all are missing",
        )
    return values or [None] * count


def from_bytes(name: str, datatype: str, data: bytes) -> list[Any]:
    """The values of a tensor in its binary form. Raises RequestError if it has another one."""
    try:
        return _texts(data) if datatype == BYTES else known(_packed(_FORMATS[datatype], len(data)).unpack(data))
    except KeyError as error:
        raise RequestError(
            f"has the datatype {datatype!r}",
            subject=f"input {name!r}",
            remedy=f"Send one of {', '.join((*_FORMATS, BYTES))}",
        ) from error
    except (ValueError, struct.error) as error:
        raise RequestError(
            f"is not {datatype} ({error})",
            subject=f"input {name!r}",
            remedy="Send values in the protocol's binary form",
        ) from error


@lru_cache(maxsize=256)
def _packed(letter: str, size: int) -> struct.Struct:
    """Numbers of one type in `size` bytes, the least significant byte first, or in fewer if these are not whole numbers."""
    return struct.Struct(f"<{size // struct.calcsize(letter)}{letter}")


def known(values: Sequence[Any]) -> list[Any]:
    """Values with None in place of NaN."""
    return [None if value != value else value for value in values]


def _texts(data: bytes) -> list[str]:
    """Texts in UTF-8, each after its length."""
    found, start = [], 0
    while start < len(data):
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size + length
        if start > len(data):
            raise ValueError("a text is cut short")
        found.append(data[start - length : start].decode())
    return found


def to_bytes(tensor: Tensor) -> bytes:
    """The binary form of a tensor of an answer, in which only FP64 may have missing values."""
    if tensor.datatype == BYTES:
        texts = [value.encode() for value in tensor.values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    values = [math.nan if value is None else value for value in tensor.values]
    return struct.pack(f"<{len(values)}{_FORMATS[tensor.datatype]}", *values)


OUTPUTS = {"prediction": FLOAT, "prediction_id": BYTES, "model_version": INTEGER, "arm": BYTES, "rung": BYTES}
"""The outputs that every answer has."""
OF_EXPLANATIONS = {"base_value": FLOAT, "scale": BYTES}
"""Those of an explanation."""
AGE, CONTRIBUTION = "feature_age.", "contribution."
"""How the names of outputs begin that exist for each lookup; and, in an explanation, for each input."""


def require_outputs(names: Sequence[str], instances: InstanceReader[Any], *, explains: bool) -> None:
    """Raises RequestError if an answer will not have the outputs of these names."""
    known = {*OUTPUTS, *(AGE + lookup for lookup in instances.lookups), *(OF_EXPLANATIONS if explains else ())}
    for name in names:
        if name not in known and not (explains and name.startswith(CONTRIBUTION)):
            raise RequestError(
                "is not answered", subject=f"output {name!r}", remedy=f"There is {', '.join(sorted(known))}"
            )


def outputs_of(predictions: Predictions) -> dict[str, Tensor]:
    """Every output of an answer, by its name."""
    rows = predictions.rows
    shape = [len(rows)]
    tensors = [
        Tensor("prediction", FLOAT, shape, [row.value for row in rows]),
        Tensor("prediction_id", BYTES, shape, [row.id for row in rows]),
        Tensor("model_version", INTEGER, shape, [row.model_version for row in rows]),
        Tensor("arm", BYTES, shape, [row.arm for row in rows]),
        Tensor("rung", BYTES, shape, [row.rung for row in rows]),
    ]
    tensors += [
        Tensor(AGE + name, FLOAT, shape, [row.feature_ages.get(name) for row in rows]) for name in rows[0].feature_ages
    ]
    if explained := [row.explanation for row in rows if row.explanation]:
        names = dict.fromkeys(name for each in explained for name in each.contributions)
        tensors += [
            Tensor("base_value", FLOAT, shape, [each.base_value for each in explained]),
            Tensor("scale", BYTES, shape, [each.scale for each in explained]),
            *(
                Tensor(CONTRIBUTION + name, FLOAT, shape, [each.contributions.get(name) for each in explained])
                for name in names
            ),
        ]
    return {tensor.name: tensor for tensor in tensors}


def output(name: str, found: Mapping[str, Tensor]) -> Tensor:
    """One of the outputs. What an input without a contribution adds is missing."""
    rows = len(found["prediction"].values)
    return found.get(name) or Tensor(name, FLOAT, [rows], [None] * rows)
