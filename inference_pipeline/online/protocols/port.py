"""The interface of a protocol: it turns bytes into requests, and predictions into an answer. Only it knows these formats."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference_pipeline.online.requests import RequestReader, Requests

if TYPE_CHECKING:
    from inference_pipeline.online.release import Release

KEY_HEADER = "Idempotency-Key"
"""The header in which a caller may send a key of its own for a request, in any protocol over HTTP."""
Reader = Callable[[bytes], Requests]
"""A body → its requests, one row each. Raises pydantic's ValidationError or a RequestError, which name the fields."""


@dataclass(frozen=True)
class Prediction:
    """One prediction, and the id under which it is logged.

    `rung` says with which features it was made: "fresh", "tolerated" (somewhat too old, or newer than the request) or
    "baseline" (none could be used, and the baseline answered). `feature_ages` are the seconds for which the row of each lookup
    had held at the request's time; None where it found none.
    """

    value: float
    id: str
    model_version: int
    arm: str
    rung: str
    feature_ages: Mapping[str, float | None]


@dataclass(frozen=True)
class Predictions:
    """The predictions for the rows of one request, in order."""

    model_name: str
    rows: Sequence[Prediction]
    is_repeated: bool = False
    """Whether they were logged before, because the caller sent the same request with the same key."""


class Protocol(typing.Protocol):
    """The paths of a protocol, with `{name}` for the model, and its bodies. Each body is a value that JSON can represent."""

    predict_path: str
    status_path: str
    list_path: str

    def reader(self, requests: RequestReader) -> Reader:
        """The reader of a use case's requests. Making a reader compiles the request model once for all reads."""

    def answer(self, predictions: Predictions) -> Any:
        """The body of the answer to a request."""

    def status(self, release: Release) -> Any:
        """The body that describes a model that is ready."""

    def listing(self, names: Sequence[str]) -> Any:
        """The body that lists all models."""

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        """The body of an example request."""
