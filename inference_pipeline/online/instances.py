"""What a caller sends: the V1 body, held to the use case's request model without any leniency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, create_model

from ratchet import tables
from ratchet.errors import RequestError
from ratchet.feature_service import request_schema
from ratchet.use_case import Array, UseCase

MAX_INSTANCES = 1000
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_EARLIEST, _LATEST = np.datetime64("1970-01-01", "us"), np.datetime64("2100-01-01", "us")


def body_model(use_case: UseCase) -> type[BaseModel]:
    """`{"instances": [...]}` of the use case's requests: no conversions, no unknown fields, finite numbers only."""
    instance = type("Instance", (use_case.request,), {"model_config": _STRICT, "__module__": __name__})
    instances = (list[instance], Field(min_length=1, max_length=MAX_INSTANCES))  # type: ignore[valid-type]
    return create_model("Body", __config__=_STRICT, instances=instances)


def to_columns(use_case: UseCase, instances: Sequence[BaseModel]) -> dict[str, Array]:
    """Valid instances in the columns and types that the feature store gives batch. Raises RequestError, which names the field."""
    schema, rows = request_schema(use_case), [_row(use_case, instance) for instance in instances]
    arrays = [_column(field, [row.get(field.name) for row in rows]) for field in schema]
    columns = tables.to_columns(pa.table(arrays, schema=schema))
    outside = ~((columns["event_timestamp"] >= _EARLIEST) & (columns["event_timestamp"] < _LATEST))
    if outside.any():
        raise RequestError(
            f"must lie between {_EARLIEST} and {_LATEST}",
            subject=f"instances[{outside.argmax()}].{use_case.event_timestamp}",
            remedy="Send the moment that the prediction is about",
        )
    return columns


def _row(use_case: UseCase, instance: BaseModel) -> dict[str, Any]:
    fields = instance.model_dump()
    return {**use_case.constants, **fields, "event_timestamp": fields[use_case.event_timestamp]}


def _column(field: pa.Field, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise RequestError(
            f"does not fit {field.type} ({error})", subject=f"instances[].{field.name}", remedy="Send a value that does"
        ) from error
