"""What a failure means to a caller: a status code of HTTP, one of gRPC, and what is wrong with which field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ratchet.core.errors import (
    GateError,
    RatchetError,
    RegistryError,
    RequestError,
    ReusedKeyError,
    UnavailableError,
    UnknownModelError,
)

MAX_REASONS = 20
RETRY_AFTER = "2"
"""Seconds until loading is tried again."""
_CODES: Mapping[type[RatchetError], tuple[int, str]] = {
    UnknownModelError: (404, "NOT_FOUND"),
    ReusedKeyError: (409, "ABORTED"),
    RequestError: (422, "INVALID_ARGUMENT"),
    UnavailableError: (503, "UNAVAILABLE"),  # the same request may be answered soon
    RegistryError: (409, "FAILED_PRECONDITION"),  # no model may serve: a person has to act
    GateError: (409, "FAILED_PRECONDITION"),
    RatchetError: (500, "INTERNAL"),
}
"""The first class that matches an error decides."""


@dataclass(frozen=True)
class Failure:
    """The codes of HTTP and gRPC, what happened, and the fields of the request that are wrong, with a reason for each."""

    http: int
    grpc: str
    message: str
    fields: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, error: RatchetError | ValidationError) -> Failure:
        if isinstance(error, ValidationError):
            return cls._invalid(error)
        codes = next(codes for kind, codes in _CODES.items() if isinstance(error, kind))
        is_about_field = isinstance(error, RequestError)
        fields = [(error.subject, f"{error.problem}. {error.remedy}")] if is_about_field else []
        return cls(*codes, str(error), fields)

    @classmethod
    def _invalid(cls, error: ValidationError) -> Failure:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        fields = [(_path(detail), detail["msg"]) for detail in details[:MAX_REASONS]]
        code = 400 if details[0]["type"] == "json_invalid" else 422
        return cls(code, "INVALID_ARGUMENT", "; ".join(f"{name}: {reason}" for name, reason in fields), fields)


def _path(detail: ErrorDetails) -> str:
    """`instances[2].clinic`"""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    return "".join(parts).removeprefix(".") or "body"
