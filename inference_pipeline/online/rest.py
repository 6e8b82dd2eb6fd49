"""The service over HTTP: the paths of every protocol, and GET /, which belongs to no protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inference_pipeline.online.delivery import LoggedAnswer
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import KEY_HEADER
from ratchet.core.errors import (
    GateError,
    RatchetError,
    RegistryError,
    RequestError,
    ReusedKeyError,
    UnavailableError,
)

if TYPE_CHECKING:
    from inference_pipeline.online.model_slot import ModelSlot

MAX_BODY = 1 << 20
MAX_REASONS = 20
MAX_KEY = 128
_KEY = re.compile(rf"(\"?)([A-Za-z0-9._:-]{{1,{MAX_KEY}}})\1", re.ASCII)
"""A caller's key, which may be quoted as a string of RFC 8941."""
REPEATED = {"Idempotent-Replayed": "true"}
"""The headers of an answer that was given before."""
RETRY_AFTER = "2"
"""Seconds until loading is tried again."""
STATUS_CODES: Mapping[type[RatchetError], int] = {
    ReusedKeyError: 409,
    RequestError: 422,
    UnavailableError: 503,  # the same request may be answered soon
    RegistryError: 409,  # no model may serve: a person has to act
    GateError: 409,
    RatchetError: 500,
}
"""The first class that matches an error decides."""


def application() -> Starlette:
    """The routes, and the one place where errors become status codes. `attach` adds the models."""
    return Starlette(
        routes=[*chain.from_iterable(map(_routes, PROTOCOLS)), Route("/", alive, methods=["GET"])],
        exception_handlers={
            HTTPException: _refused,  # type: ignore[dict-item] # Starlette types handlers by the base of all exceptions
            ValidationError: _invalid,  # type: ignore[dict-item]
            RatchetError: _failed,  # type: ignore[dict-item]
            ClientDisconnect: _gone,  # type: ignore[dict-item]
        },
    )


def _routes(protocol: str) -> Iterator[Route]:
    paths = PROTOCOLS[protocol]
    for path, endpoint, method in (
        (paths.predict_path, predict, "POST"),
        (paths.status_path, status, "GET"),
        (paths.list_path, models, "GET"),
    ):
        yield Route(path, partial(endpoint, protocol), methods=[method])


def attach(app: Starlette, served: Sequence[ModelSlot]) -> None:
    """Add the models."""
    app.state.models = {serving.run.scope.namespace: serving for serving in served}


async def alive(_request: Request) -> Response:
    """The service is alive. This replaces BentoML's own page, which loads a script that counts its visitors."""
    return JSONResponse({"status": "alive"})


async def models(protocol: str, request: Request) -> Response:
    return JSONResponse(PROTOCOLS[protocol].listing(list(request.app.state.models)))


async def status(protocol: str, request: Request) -> Response:
    return JSONResponse(PROTOCOLS[protocol].status(_serving(request).predictor.release))


async def predict(protocol: str, request: Request) -> Response:
    key, body = _key(request), await _body(request)
    predictor = _serving(request).predictor
    predictions = await predictor.predict(predictor.readers[protocol](body), key)
    headers = REPEATED if predictions.is_repeated else None
    return LoggedAnswer(PROTOCOLS[protocol].answer(predictions), predictions, predictor, headers)


def _serving(request: Request) -> ModelSlot:
    models: dict[str, ModelSlot] = request.app.state.models
    name = request.path_params["name"]
    if name not in models:
        raise HTTPException(404, f"there is no model {name!r}; there is {', '.join(sorted(models))}")
    return models[name]


def _key(request: Request) -> str | None:
    """The caller's own key for the request, without quotes; None if it sent none."""
    sent = request.headers.getlist(KEY_HEADER)
    if not sent:
        return None
    found = _KEY.fullmatch(sent[0]) if len(sent) == 1 else None
    if found is None:
        raise HTTPException(
            400,
            f"{KEY_HEADER}: must be sent once, with 1 to {MAX_KEY} characters of A-Z, a-z, 0-9, `.`, `_`, `:` and `-`",
        )
    return found[2]


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the body must be JSON, with the header `content-type: application/json`")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the body is larger than {MAX_BODY} bytes: send fewer instances")
    return bytes(body)


async def _refused(_request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _gone(_request: Request, _error: ClientDisconnect) -> Response:
    """Nobody reads this answer. A caller who disconnects is not an error of the service, so it is not logged as one."""
    return Response(status_code=400)


async def _invalid(_request: Request, error: ValidationError) -> Response:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [{"field": _path(detail), "reason": detail["msg"]} for detail in details[:MAX_REASONS]]
    code = 400 if details[0]["type"] == "json_invalid" else 422
    message = "; ".join(f"{entry['field']}: {entry['reason']}" for entry in fields)
    return JSONResponse({"error": message, "fields": fields}, code)


def _path(detail: ErrorDetails) -> str:
    """`instances[2].clinic`"""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    return "".join(parts).removeprefix(".") or "body"


async def _failed(_request: Request, error: RatchetError) -> Response:
    content: dict[str, object] = {"error": str(error)}
    if isinstance(error, RequestError):
        content["fields"] = [{"field": error.subject, "reason": f"{error.problem}. {error.remedy}"}]
    code = next(code for kind, code in STATUS_CODES.items() if isinstance(error, kind))
    return JSONResponse(content, code, {"Retry-After": RETRY_AFTER} if code == 503 else None)
