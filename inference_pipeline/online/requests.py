"""Validate what a caller sends strictly against the use case's request model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

from ratchet.core.errors import RequestError
from ratchet.features.service import request_schema
from ratchet.storage.arrow import to_array
from ratchet.use_case.contract import Array, Columns, UseCase

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MISFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)
Place = Callable[[int, str], str]
"""A row and a field → where the caller finds the value in the request."""
_EARLIEST, _LATEST = np.datetime64("1970-01-01", "us"), np.datetime64("2100-01-01", "us")


class Requests:
    """A use case's requests, for any protocol: the model of one request, and the columns of many.

    The columns are the same that the feature store gives to batch scoring.
    """

    def __init__(self, use_case: UseCase) -> None:
        self.instance = _instance_model(use_case)
        self._use_case = use_case
        self._schema = request_schema(use_case)

    def columns(self, instances: Sequence[BaseModel], place: Place) -> Columns:
        """One row per instance. Raises RequestError for the first value that no column can hold, named by its place."""
        rows = [self._row(instance) for instance in instances]
        columns = {field.name: _column(field, [row.get(field.name) for row in rows], place) for field in self._schema}
        self._check_timestamps(columns["event_timestamp"], place)
        return columns

    def _row(self, instance: BaseModel) -> dict[str, Any]:
        fields = instance.model_dump()
        return {**self._use_case.constants, **fields, "event_timestamp": fields[self._use_case.event_timestamp]}

    def _check_timestamps(self, timestamps: Array, place: Place) -> None:
        outside = ~((timestamps >= _EARLIEST) & (timestamps < _LATEST))
        if outside.any():
            raise RequestError(
                f"must lie from {_EARLIEST} up to {_LATEST}, UTC",
                subject=place(int(outside.argmax()), self._use_case.event_timestamp),
                remedy="Send the timestamp that the prediction is about",
            )


def _instance_model(use_case: UseCase) -> type[BaseModel]:
    """The use case's request: no conversions, no unknown fields, finite numbers only."""
    members: dict[str, Any] = {"model_config": STRICT, "__module__": __name__}
    times = [name for name, field in use_case.request.model_fields.items() if _is_time(field.annotation)]
    if times:
        members["timestamps"] = field_validator(*times, mode="before")(_timestamp)
    return type("Instance", (use_case.request,), members)


def _is_time(annotation: Any) -> bool:
    return annotation in (AwareDatetime, datetime) or any(map(_is_time, get_args(annotation)))


def _timestamp(sent: Any) -> datetime | None:
    """The timestamp as sent. Pydantic alone would read "20250701" as seconds since 1970, even in strict mode."""
    if sent is None:
        return None
    problem = ""
    if isinstance(sent, str) and _RFC_3339.fullmatch(sent):
        try:
            return datetime.fromisoformat(sent.upper())
        except ValueError as error:
            problem = f" ({error})"
    expected = f"Input should be a timestamp of RFC 3339 with an offset, such as 2025-07-01T18:30:00+01:00{problem}"
    raise PydanticCustomError("rfc_3339", expected)


def _column(field: pa.Field, values: Sequence[Any], place: Place) -> Array:
    try:
        return _as_array(field, values)
    except _MISFIT as error:
        row = next(row for row, value in enumerate(values) if not _fits(field, value))
        raise RequestError(
            f"does not fit {field.type} ({error})", subject=place(row, field.name), remedy="Send a value that fits"
        ) from error


def _fits(field: pa.Field, value: Any) -> bool:
    try:
        _as_array(field, [value])
    except _MISFIT:
        return False
    return True


def _as_array(field: pa.Field, values: Sequence[Any]) -> Array:
    return to_array(pa.chunked_array([pa.array(values, field.type)]), exact=True)
