"""The interface of a protocol: it turns bytes into columns, and predictions into an answer. Only it knows these formats."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ratchet.use_case.contract import Columns, UseCase

if TYPE_CHECKING:
    from ratchet.model_registry.champion import Champion

KEY_HEADER = "Idempotency-Key"
"""The header in which a caller may send a key of its own for a request, in any protocol over HTTP."""
Reader = Callable[[bytes], Columns]
"""A body → its requests, one row each. Raises pydantic's ValidationError or a RequestError, which name the fields."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model version, one for each request, and the ids under which they are logged."""

    values: npt.NDArray[np.float64]
    ids: Sequence[str]
    model_name: str
    model_version: int
    is_repeated: bool = False
    """Whether they were logged before, because the caller sent the same request with the same key."""


class Protocol(typing.Protocol):
    """The paths of a protocol, with `{name}` for the model, and its bodies. Each body is a value that JSON can represent."""

    predict_path: str
    status_path: str
    list_path: str

    def reader(self, use_case: UseCase) -> Reader:
        """The reader of a use case's requests. Making a reader compiles the request model once for all reads."""

    def answer(self, predictions: Predictions) -> Any:
        """The body of the answer to a request."""

    def status(self, champion: Champion) -> Any:
        """The body that describes a model that is ready."""

    def listing(self, names: Sequence[str]) -> Any:
        """The body that lists all models."""

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        """The body of an example request."""
