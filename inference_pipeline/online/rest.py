"""The service over HTTP: the paths of every protocol, and GET /, which belongs to no protocol."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from inference_pipeline.online import feedback, openapi
from inference_pipeline.online.bodies import read_body
from inference_pipeline.online.http_errors import EXPECTED, handled
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import Protocol, Show
from inference_pipeline.online.questions import answer, caller_of, question_of
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


class Application:
    """All paths over HTTP: questions are answered at once, and everything else by Starlette. `attach` adds the models."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._served = Served(())
        self.pages = Starlette(routes=[*_routes()], exception_handlers=dict.fromkeys(EXPECTED, handled))

    def attach(self, served: Served) -> None:
        """Add the models."""
        self._served = self.pages.state.served = served

    def direct(self, path: str) -> ASGIApp | None:
        """What answers a path without the layers of BentoML; None if they are needed."""
        return self if question_of(path) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        question = question_of(scope["path"]) if scope["type"] == "http" else None
        if question:
            await answer(self._served, question, self._deadline, scope, receive, send)
        else:
            await self.pages(scope, receive, send)


def _routes() -> Iterator[Route]:
    yield from chain.from_iterable(map(_shows, PROTOCOLS.values()))
    yield Route(_pattern(feedback.PATH), take_feedback, methods=["POST"])
    yield Route("/", alive, methods=["GET"])
    yield Route("/metrics", metrics, methods=["GET"])
    yield Route(openapi.DOCUMENT, _document, methods=["GET"])
    yield Route(openapi.PAGE, lambda _request: HTMLResponse(openapi.HTML), methods=["GET"])
    yield Route(openapi.SCRIPT, lambda _request: Response(openapi.START, media_type="text/javascript"), methods=["GET"])


def _shows(protocol: Protocol) -> Iterator[Route]:
    for (method, path), what in protocol.shows.items():
        yield Route(_pattern(path), partial(show, what), methods=[method])


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
