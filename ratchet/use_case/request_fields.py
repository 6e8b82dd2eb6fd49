"""The fields of a request, as columns of a table and as inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, Field, create_model

from ratchet.core.errors import SettingsError
from ratchet.use_case.contract import INSTANT, Kind

_TYPES: Mapping[Any, tuple[pa.DataType, Kind | None]] = {
    str: (pa.string(), "category"),
    int: (pa.int64(), "number"),
    float: (pa.float64(), "number"),
    bool: (pa.bool_(), "number"),
    AwareDatetime: (INSTANT, None),
}
"""Type of a request's field → type of its column, and its kind as a model input (None: it is not an input)."""


def request_of(
    time: str,
    *,
    texts: str = "",
    flags: str = "",
    counts: str = "",
    integers: str = "",
    amounts: str = "",
    numbers: str = "",
    optional: str = "",
) -> type[BaseModel]:
    """A request model with many fields, without a class of one line for each. Names are separated by spaces.

    `time` is the field with the request's timestamp. Counts are whole numbers; counts and amounts are never negative.
    Fields in `optional` may be left out.
    """
    kinds = ((str, texts, None), (bool, flags, None), (int, counts, 0), (int, integers, None), (float, amounts, 0))
    fields: dict[str, Any] = {}
    for kind, names, least in (*kinds, (float, numbers, None)):
        for name in names.split():
            is_optional = name in optional.split()
            fields[name] = (kind | None, Field(None, ge=least)) if is_optional else (kind, Field(ge=least))
    fields[time] = (AwareDatetime, ...)
    return create_model("Request", **fields)


def schema_of(request: type[BaseModel], /, **others: pa.DataType) -> pa.Schema:
    """A schema of the request's fields and the columns in `others`. Raises SettingsError for a field of another type."""
    return pa.schema({**{name: _column(request, name)[0] for name in request.model_fields}, **others})


def kinds_of(request: type[BaseModel], /, **others: Kind | None) -> dict[str, Kind]:
    """A request's fields as model inputs: text is a category, a timestamp is no input, every other field is a number.

    `others` overrides this or adds inputs; None means no input. Raises SettingsError for a field of another type.
    """
    kinds = {**{name: _column(request, name)[1] for name in request.model_fields}, **others}
    return {name: kind for name, kind in kinds.items() if kind}


def numbers(*names: str) -> dict[str, Kind]:
    """Inputs that are numbers."""
    return dict.fromkeys(names, "number")


def categories(names: str) -> dict[str, Kind]:
    """Inputs that are categories; their names are separated by spaces."""
    return dict.fromkeys(names.split(), "category")


def _column(request: type[BaseModel], name: str) -> tuple[pa.DataType, Kind | None]:
    annotation = request.model_fields[name].annotation
    is_union = get_origin(annotation) in (Union, UnionType)
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)] if is_union else [annotation]
    if len(kinds) != 1 or kinds[0] not in _TYPES:
        raise SettingsError(
            f"is a {annotation}",
            subject=f"request field {name!r}",
            remedy="Make it str, int, float, bool or AwareDatetime",
        )
    return _TYPES[kinds[0]]
