"""Parts of JSON schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
NUMBER: Schema = {"type": "number"}
WHOLE_NUMBER: Schema = {"type": "integer"}
TEXT: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}


def an_object(properties: Mapping[str, Schema], *optional: str) -> Schema:
    """An object with exactly these fields, of which some may be left out."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def a_mapping(values: Schema) -> Schema:
    """An object with fields of any name."""
    return {"type": "object", "additionalProperties": values}


def a_list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
