"""The service over HTTP: the paths of every protocol, and GET /, which belongs to no protocol."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from inference_pipeline.online import feedback, openapi
from inference_pipeline.online.bodies import read_body
from inference_pipeline.online.http_errors import EXPECTED, handled
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import Show
from inference_pipeline.online.questions import Questions, caller_of, question_of
from inference_pipeline.online.served import Served

DEADLINE = 2.0
"""Seconds within which a question is answered, once its body is there."""


class _Name(Convertor[str]):
    """A part of a path without a colon, so that `NAME:predict` is not a name."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _Name())


class Application(Starlette):
    """All paths over HTTP. `attach` adds the models."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._questions = Questions(deadline)
        handlers = dict[Any, Any].fromkeys(EXPECTED, handled)
        super().__init__(routes=[*_routes(self._questions)], exception_handlers=handlers)

    def attach(self, served: Served) -> None:
        """Add the models."""
        self._questions.served = self.state.served = served

    def direct(self, path: str) -> ASGIApp | None:
        """What answers a path without the layers of Starlette and BentoML; None if they are needed."""
        return self._questions if question_of(path) else None


def _routes(questions: Questions) -> Iterator[Route]:
    for protocol in PROTOCOLS.values():
        yield from (Route(_pattern(path), questions) for path in protocol.asks)
        for (method, path), what in protocol.shows.items():
            yield Route(_pattern(path), partial(show, what), methods=[method])
    yield Route(_pattern(feedback.PATH), take_feedback, methods=["POST"])
    yield Route("/", alive, methods=["GET"])
    yield Route("/metrics", metrics, methods=["GET"])
    yield Route(openapi.DOCUMENT, _document, methods=["GET"])
    yield Route(openapi.PAGE, lambda _request: HTMLResponse(openapi.HTML), methods=["GET"])
    yield Route(openapi.SCRIPT, lambda _request: Response(openapi.START, media_type="text/javascript"), methods=["GET"])


def _pattern(path: str) -> str:
    return path.replace("{name}", "{name:name}").replace("{version}", "{version:name}")


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


async def take_feedback(request: Request) -> Response:
    """What became of predictions."""
    slot = request.app.state.served.slot(request.path_params["name"])
    content = await read_body(dict(request.scope["headers"]), request.receive, ["application/json"])
    use_case, clock = slot.run.use_case, slot.run.clock
    accepted = await feedback.take(content, slot.feedback, use_case.task, clock, caller_of(request.scope).name)
    return JSONResponse({"accepted": accepted})
