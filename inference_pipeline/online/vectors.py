"""Ready feature vectors, for callers that have a model's inputs already: nothing is looked up, and nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from inference_pipeline.online.instances import STRICT, ColumnKind, InstanceReader
from ratchet.use_case.contract import Array


@dataclass(frozen=True)
class Vectors:
    """The inputs of a model, one row each, as plain values, with None for what is missing. `texts` and `numbers` name them."""

    rows: Sequence[dict[str, Any]]
    texts: Sequence[str]
    numbers: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def columns(self) -> dict[str, Array]:
        columns: dict[str, Array] = {name: np.array([row[name] for row in self.rows], object) for name in self.texts}
        numbers = np.array([[row[name] for name in self.numbers] for row in self.rows], np.float64)  # all in one array
        columns.update(zip(self.numbers, numbers.T, strict=True))
        return columns


class VectorReader(InstanceReader[Vectors]):
    """A model's inputs, for any protocol. Each must be sent; null says that it is missing."""

    def __init__(self, inputs: Mapping[str, ColumnKind]) -> None:
        """`inputs` are "double", or "string" for texts."""
        fields = {name: (str if kind == "string" else float) | None for name, kind in inputs.items()}
        make: Any = TypedDict  # unlike those of a model, the names of its fields are free
        vector = make("Vector", fields)
        vector.__pydantic_config__ = STRICT
        super().__init__(vector, inputs)
        self.keys_each = len(inputs)
        self._texts = [name for name, kind in inputs.items() if kind == "string"]
        self._numbers = [name for name in inputs if name not in self._texts]

    def _inputs(self, instances: Sequence[dict[str, Any]]) -> Vectors:
        return Vectors(instances, self._texts, self._numbers)
