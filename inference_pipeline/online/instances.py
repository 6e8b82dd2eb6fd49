"""What a caller sends, in any protocol: a list of instances, each with named fields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, create_model

MAX_INSTANCES = 1000
REQUESTS, VECTORS = "", ".vectors"
"""How the name of a model ends that takes requests, or ready feature vectors."""
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
ColumnKind = Literal["string", "int64", "double", "bool", "timestamp"]
"""How a field is kept."""
T_co = TypeVar("T_co", covariant=True)


class InstanceReader(ABC, Generic[T_co]):
    """Validates instances strictly, and makes inputs of a model of them. Making a reader compiles that once for all reads.

    `instance` is their type, for pydantic, and `kinds` says how each field is kept. `lookups` are those of which an answer says
    how old their features were. A value that is wrong is named by its place: `instances[2].clinic`.
    """

    def __init__(self, instance: Any, kinds: Mapping[str, ColumnKind], lookups: Sequence[str] = ()) -> None:
        self.instance, self.kinds, self.lookups = instance, kinds, lookups
        self.keys_each: int | None = None
        """How many keys each instance has, in JSON; None if that may differ."""
        field = (list[instance], Field(min_length=1, max_length=MAX_INSTANCES))
        self._validator = create_model("Body", __config__=STRICT, instances=field).__pydantic_validator__

    def read_json(self, body: bytes) -> T_co:
        """The inputs of `{"instances": […]}`. Raises pydantic's ValidationError or a RequestError, which name the fields."""
        return self._inputs(self._validator.validate_json(body).instances)

    def read_rows(self, rows: list[dict[str, Any]]) -> T_co:
        """The same of instances as dicts. Raises as `read_json` does."""
        return self._inputs(self._validator.validate_python({"instances": rows}).instances)

    def schema(self) -> dict[str, Any]:
        """The JSON schema of an instance."""
        return TypeAdapter(self.instance).json_schema()

    @abstractmethod
    def _inputs(self, instances: Sequence[Any]) -> T_co:
        """One row per valid instance. Raises RequestError for the first value that no column can hold."""


def place(row: int, field: str) -> str:
    """Where a caller finds a value."""
    return f"instances[{row}].{field}"
