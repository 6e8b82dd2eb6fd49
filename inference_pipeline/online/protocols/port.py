"""The interface of a protocol: it turns bytes into a model's inputs, and predictions into an answer. Only it knows its formats.

What may be sent as an instance depends on the model's name: `NAME` takes requests, whose features are looked up, and
`NAME.vectors` takes ready feature vectors.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from inference_pipeline.online.explanations import Explanation
from inference_pipeline.online.instances import ColumnKind, InstanceReader
from inference_pipeline.online.requests import Requests
from inference_pipeline.online.vectors import Vectors

if TYPE_CHECKING:
    from inference_pipeline.online.release import Release

KEY_HEADER = "Idempotency-Key"
"""The header in which a caller may send a key of its own for a request, in any protocol over HTTP."""
Inputs = Requests | Vectors


class Body(msgspec.Struct, frozen=True):
    """The body of a request, with its headers by their names in small letters. `explains` if its path is for explanations."""

    content: bytes
    headers: Mapping[bytes, bytes] = {}
    explains: bool = False


class Answer(msgspec.Struct, frozen=True):
    """The body of an answer, and its headers."""

    content: bytes
    headers: Mapping[str, str]


class Asked(msgspec.Struct, frozen=True):
    """What a caller wants to know, and how it wants the answer."""

    inputs: Inputs
    answer: Callable[[Predictions], Answer]
    explains: bool = False


class Prediction(msgspec.Struct, frozen=True):
    """One prediction, and the id under which it is logged.

    `rung` says with which features it was made: "fresh", "tolerated" (somewhat too old, or newer than the request), "baseline"
    (none could be used, and the baseline answered) or "given" (by the caller). `feature_ages` are the seconds for which the row
    of each lookup had held at the request's time; None where it found none. `explanation` is there if it was asked for.
    """

    value: float
    id: str
    model_version: int
    arm: str
    rung: str
    feature_ages: Mapping[str, float | None]
    explanation: Explanation | None = None


class Predictions(msgspec.Struct, frozen=True):
    """The predictions for the rows of one request, in order, from the release of the model's version `model_version`."""

    model_name: str
    model_version: int
    rows: Sequence[Prediction]
    is_repeated: bool = False
    """Whether they were logged before, because the caller sent the same request with the same key."""


class Models(typing.Protocol):
    """What is served."""

    def names(self) -> Sequence[str]:
        """The names that callers may use, in order."""

    def metadata(self, name: str, version: str | None = None) -> tuple[Release, InstanceReader[Inputs]]:
        """The release that answers, and what may be sent to it.

        Raises UnknownModelError; RegistryError with the reason if no model may serve, or RegistryUnavailableError.
        """

    def problem(self, name: str) -> str:
        """Why a model does not answer; empty if it does. Raises UnknownModelError."""

    def problems(self, name: str) -> Mapping[str, str]:
        """The parts of a model that are not as they should be while it answers, and why."""

    def is_ready(self) -> bool:
        """Whether any model answers."""


Show = Callable[[Models, Mapping[str, str]], tuple[int, Any]]
"""From the parameters of a path to a status code and a value that JSON can represent."""


class Protocol(typing.Protocol):
    """The paths of a protocol, with `{name}` for a model and `{version}` for its version, and its bodies."""

    asks: Mapping[str, bool]
    """Path of a POST with instances → whether it explains its predictions, too."""
    shows: Mapping[tuple[str, str], Show]
    """Method and path → what it shows."""
    media_types: Sequence[str]
    """The types of a body that are taken. "" for none."""

    def read(self, instances: InstanceReader[Inputs], body: Body) -> Asked:
        """What a body asks. Raises pydantic's ValidationError or a RequestError, which name the fields."""

    def body(self, instances: Sequence[Mapping[str, Any]]) -> Any:
        """The body of an example request, as a value that JSON can represent."""

    def schemas(self, instance: Mapping[str, Any], kinds: Mapping[str, ColumnKind]) -> tuple[Any, Any]:
        """The JSON schemas of a body and of its answer, for instances of a schema."""
