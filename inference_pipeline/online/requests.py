"""Validate what a caller sends strictly against the use case's request model, and make columns of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from pydantic import AwareDatetime, BaseModel, field_validator
from pydantic_core import PydanticCustomError

from inference_pipeline.online.instances import STRICT, ColumnKind, InstanceReader, place
from ratchet.core.errors import RequestError
from ratchet.use_case.columns import EVENT_TIMESTAMP, REQUEST_ID
from ratchet.use_case.contract import Array, UseCase

if TYPE_CHECKING:
    import pyarrow as pa

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_KINDS: Mapping[str, ColumnKind] = {"string": "string", "int64": "int64", "double": "double", "bool": "bool"}
"""Arrow's name of a type → how such a column is kept."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_LARGEST = 2**53
"""The largest whole number up to which float64 holds every one exactly."""


@dataclass(frozen=True)
class Requests:
    """Valid requests: their fields and constants as plain values, of which `kinds` says how each is kept, and their times in
    microseconds since 1970."""

    values: Mapping[str, Sequence[Any]]
    kinds: Mapping[str, ColumnKind]
    times: Sequence[int]

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def columns(self) -> dict[str, Array]:
        """What the feature store gives to batch scoring."""
        return {name: self.column(name) for name in (*self.kinds, REQUEST_ID, EVENT_TIMESTAMP)}

    def column(self, name: str) -> Array:
        """One of `columns`: numbers as float64 with NaN, instants as datetime64[us], texts as objects with None."""
        if name == EVENT_TIMESTAMP:
            return np.array(self.times, np.int64).view("datetime64[us]")
        if name == REQUEST_ID:
            return np.full(len(self), None, object)
        kind, values = self.kinds[name], self.values[name]
        if kind == "timestamp":
            return np.array([None if value is None else _naive(value) for value in values], "datetime64[us]")
        return np.array(values, object if kind == "string" else np.float64)


class RequestReader(InstanceReader[Requests]):
    """A use case's requests, for any protocol."""

    def __init__(self, use_case: UseCase, kinds: Mapping[str, ColumnKind]) -> None:
        """`kinds` are those of a stored request's columns (`request_schema`)."""
        self._time = use_case.event_timestamp
        self._constants = use_case.constants
        self._stored = {name: kind for name, kind in kinds.items() if name not in (REQUEST_ID, EVENT_TIMESTAMP)}
        fields = {name: self._stored[name] for name in use_case.request_fields()}
        lookups = [lookup.prefix for lookup in use_case.lookups]
        super().__init__(_instance_model(use_case), {**fields, use_case.event_timestamp: "timestamp"}, lookups)

    def _inputs(self, instances: Sequence[BaseModel]) -> Requests:
        rows = [instance.__dict__ for instance in instances]
        times = [self._micros(row[self._time], number) for number, row in enumerate(rows)]
        values = {name: self._values(name, rows) for name in self._stored}
        for name, kind in self._stored.items():
            _require_fit(name, kind, values[name])
        return Requests(values, self._stored, times)

    def _values(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        constant = self._constants.get(name)
        return [row[name] for row in rows] if constant is None else [constant] * len(rows)

    def _micros(self, moment: datetime, row: int) -> int:
        if not _EPOCH <= moment < _LATEST:
            raise RequestError(
                f"must lie from {_EPOCH:%Y-%m-%d} up to {_LATEST:%Y-%m-%d}, UTC",
                subject=place(row, self._time),
                remedy="Send the timestamp that the prediction is about",
            )
        return (moment - _EPOCH) // _MICROSECOND


def column_kinds(schema: pa.Schema) -> dict[str, ColumnKind]:
    """Column of a stored request → how it is kept."""
    return {field.name: _KINDS.get(str(field.type), "timestamp") for field in schema}


def _instance_model(use_case: UseCase) -> type[BaseModel]:
    """The use case's request: no conversions, no unknown fields, finite numbers only."""
    members: dict[str, Any] = {"model_config": STRICT, "__module__": __name__}
    times = [name for name, field in use_case.request.model_fields.items() if _is_time(field.annotation)]
    if times:
        members["timestamps"] = field_validator(*times, mode="before")(rfc_3339)
    return type("Instance", (use_case.request,), members)


def _is_time(annotation: Any) -> bool:
    return annotation in (AwareDatetime, datetime) or any(map(_is_time, get_args(annotation)))


def rfc_3339(sent: Any) -> datetime | None:
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


def _require_fit(name: str, kind: ColumnKind, values: Sequence[Any]) -> None:
    """Raises RequestError for a value that its column cannot hold."""
    fits = _FITS[kind]
    for row, value in enumerate(values):
        if value is not None and not fits(value):
            raise RequestError(
                f"does not fit {kind}: {value!r}"[:200], subject=place(row, name), remedy="Send a value that fits"
            )


def _is_exact(number: float) -> bool:
    """Whether float64 tells a number from its neighbours."""
    return -_LARGEST <= number <= _LARGEST


_FITS: Mapping[ColumnKind, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "int64": lambda value: isinstance(value, int) and _is_exact(value),
    "double": lambda value: isinstance(value, float) or _is_exact(value),
    "bool": lambda value: isinstance(value, bool),
    "timestamp": lambda value: isinstance(value, datetime),
}


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
