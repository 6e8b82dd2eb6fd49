"""What a protocol is: it turns bytes into columns, and predictions into an answer. Nothing else knows how either looks."""

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

Reader = Callable[[bytes], Columns]
"""A body → its requests, a row each. Raises pydantic's ValidationError or a RequestError, which name the fields."""


@dataclass(frozen=True)
class Predictions:
    """Answers of one version, a row for each request, and the ids that they are logged under."""

    values: npt.NDArray[np.float64]
    ids: Sequence[str]
    model_name: str
    model_version: int


class Protocol(typing.Protocol):
    """Paths, in which `{name}` stands for a model, and bodies. Answers are values that JSON has."""

    predict_path: str
    status_path: str
    list_path: str

    def reader(self, use_case: UseCase) -> Reader:
        """The reader of a use case's requests; making it compiles their model, reading does not."""

    def answer(self, predictions: Predictions) -> Any:
        """The body that answers a request."""

    def status(self, champion: Champion) -> Any:
        """The body that speaks of a model that is ready."""

    def listing(self, names: Sequence[str]) -> Any:
        """The body that names all models."""

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        """The body of a request, for people to try."""
