"""The service over HTTP: the paths of every protocol, and GET /, which belongs to no protocol."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from inference_pipeline.online import feedback, openapi, traces
from inference_pipeline.online.access.access import NOBODY, Caller, RefusedError
from inference_pipeline.online.bodies import read_body
from inference_pipeline.online.caller_keys import caller_key
from inference_pipeline.online.delivery import LoggedAnswer
from inference_pipeline.online.failures import RETRY_AFTER, Failure
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import KEY_HEADER, Body, Protocol, Show
from inference_pipeline.online.served import Served
from ratchet.core.errors import RatchetError

REPEATED = {"Idempotent-Replayed": "true"}
"""The headers of an answer that was given before."""


class _Name(Convertor[str]):
    """A part of a path without a colon, so that `NAME:predict` is not a name."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _Name())


def application() -> Starlette:
    """The routes, and the one place where errors become status codes. `attach` adds the models."""
    return Starlette(
        routes=[
            *chain.from_iterable(map(_routes, PROTOCOLS.values())),
            Route(_pattern(feedback.PATH), take_feedback, methods=["POST"]),
            Route("/", alive, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            Route(openapi.DOCUMENT, _document, methods=["GET"]),
            Route(openapi.PAGE, lambda _request: HTMLResponse(openapi.HTML), methods=["GET"]),
            Route(
                openapi.SCRIPT, lambda _request: Response(openapi.START, media_type="text/javascript"), methods=["GET"]
            ),
        ],
        exception_handlers={
            HTTPException: _refused,  # type: ignore[dict-item] # Starlette types handlers by the base of all exceptions
            ValidationError: _failed,  # type: ignore[dict-item]
            RefusedError: _not_let_in,  # type: ignore[dict-item]
            RatchetError: _failed,  # type: ignore[dict-item]
            ClientDisconnect: _gone,  # type: ignore[dict-item]
        },
    )


def _routes(protocol: Protocol) -> Iterator[Route]:
    for path, explains in protocol.asks.items():
        yield Route(_pattern(path), partial(ask, protocol, explains), methods=["POST"])
    for (method, path), what in protocol.shows.items():
        yield Route(_pattern(path), partial(show, what), methods=[method])


def _pattern(path: str) -> str:
    return path.replace("{name}", "{name:name}").replace("{version}", "{version:name}")


def attach(app: Starlette, served: Served) -> None:
    """Add the models."""
    app.state.served = served


async def alive(_request: Request) -> Response:
    """The service is alive. This replaces BentoML's own page, which loads a script that counts its visitors."""
    return JSONResponse({"status": "alive"})


def metrics(_request: Request) -> Response:
    """What all processes told Prometheus. Starlette runs this in a thread."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _document(request: Request) -> Response:
    return JSONResponse(openapi.document(request.app.state.served))


async def show(what: Show, request: Request) -> Response:
    code, content = what(request.app.state.served, request.path_params)
    return JSONResponse(content, code)


async def ask(protocol: Protocol, explains: bool, request: Request) -> Response:
    """Predictions, in the form of a protocol."""
    served: Served = request.app.state.served
    name, version = request.path_params["name"], request.path_params.get("version")
    key, content = caller_key(request.headers.getlist(KEY_HEADER)), await read_body(request, protocol.media_types)
    predictor, instances = served.asked(name, version)
    asked = protocol.read(instances, Body(content, request.headers, explains))
    if asked.explains:  # also by a parameter, of which the guard knows nothing
        _caller(request).require("explain")
    predictions = await predictor.predict(asked.inputs, key, explains=asked.explains)
    traces.note(predictions)
    answer = asked.answer(predictions)
    headers = {**answer.headers, **REPEATED} if predictions.is_repeated else answer.headers
    return LoggedAnswer(answer.content, headers, predictions, predictor)


async def take_feedback(request: Request) -> Response:
    """What became of predictions."""
    slot = request.app.state.served.slot(request.path_params["name"])
    content = await read_body(request, ["application/json"])
    use_case, clock = slot.run.use_case, slot.run.clock
    accepted = await feedback.take(content, slot.feedback, use_case.task, clock, _caller(request).name)
    return JSONResponse({"accepted": accepted})


def _caller(request: Request) -> Caller:
    caller: Caller = request.scope.get("state", {}).get("caller", NOBODY)
    return caller


async def _refused(_request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _not_let_in(_request: Request, error: RefusedError) -> Response:
    return JSONResponse({"error": error.reason}, error.status, error.headers)


async def _gone(_request: Request, _error: ClientDisconnect) -> Response:
    """Nobody reads this answer. A caller who disconnects is not an error of the service, so it is not logged as one."""
    return Response(status_code=400)


async def _failed(_request: Request, error: RatchetError | ValidationError) -> Response:
    failure = Failure.of(error)
    content: dict[str, object] = {"error": failure.message}
    if failure.fields:
        content["fields"] = [{"field": name, "reason": reason} for name, reason in failure.fields]
    return JSONResponse(content, failure.http, {"Retry-After": RETRY_AFTER} if failure.http == 503 else None)
