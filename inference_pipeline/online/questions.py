"""Questions over HTTP: requests for predictions, in any protocol, from bytes to bytes.

A web framework answers everything else (`rest`). Its layers would add half of what a prediction costs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from inference_pipeline.online import traces
from inference_pipeline.online.access.access import NOBODY, Caller
from inference_pipeline.online.bodies import read_body
from inference_pipeline.online.caller_keys import caller_key
from inference_pipeline.online.delivery import Delivery
from inference_pipeline.online.http_errors import EXPECTED, error_answer
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import KEY_HEADER, Body, Protocol
from inference_pipeline.online.served import Served

_KEY_HEADER = KEY_HEADER.lower().encode()
_REPEATED = (b"idempotent-replayed", b"true")
"""The header of an answer that was given before."""


@dataclass(frozen=True)
class Question:
    """What a path asks. `version` is None if any version of the model may answer."""

    protocol: Protocol
    explains: bool
    name: str
    version: str | None


@lru_cache(maxsize=1024)
def question_of(path: str) -> Question | None:
    """What a path asks; None if it is not for predictions."""
    for pattern, protocol, explains in _PATTERNS:
        if found := pattern.fullmatch(path):
            return Question(protocol, explains, found["name"], found.groupdict().get("version"))
    return None


class Questions:
    """Answers requests, or says why not. After `deadline` seconds it is 504, and what was logged meanwhile is marked."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.served = Served(())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            delivery = await self._in_time(scope, receive)
        except EXPECTED as error:
            await error_answer(error)(scope, receive, send)
        else:
            await delivery.send(receive, send)

    async def _in_time(self, scope: Scope, receive: Receive) -> Delivery:
        try:
            async with asyncio.timeout(self._deadline) as time:
                return await _asked(self.served, scope, receive)
        except TimeoutError as error:
            if not time.expired():
                raise
            late = f"there was no answer within {self._deadline:g} seconds: ask again later"
            raise HTTPException(504, late) from error


async def _asked(served: Served, scope: Scope, receive: Receive) -> Delivery:
    question = question_of(scope["path"])
    if question is None:
        raise HTTPException(404)
    if scope["method"] != "POST":
        raise HTTPException(405, "this path is asked with POST", {"Allow": "POST"})
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    protocol = question.protocol
    content = await read_body(headers, receive, protocol.media_types)
    predictor, instances = served.asked(question.name, question.version)
    asked = protocol.read(instances, Body(content, headers, question.explains))
    if asked.explains:  # also by a parameter, of which the guard knows nothing
        caller_of(scope).require("explain")
    predictions = await predictor.predict(asked.inputs, _key(scope, headers), explains=asked.explains)
    traces.note(predictions)
    answer = asked.answer(predictions)
    sent = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    return Delivery(predictor, predictions, [*sent, _REPEATED] if predictions.is_repeated else sent, answer.content)


def caller_of(scope: Scope) -> Caller:
    """Who sent a request, as the guard noted it."""
    caller: Caller = scope.get("state", {}).get("caller", NOBODY)
    return caller


def _key(scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's own key for a request. Raises RequestError."""
    if _KEY_HEADER not in headers:
        return None
    return caller_key([value.decode("latin-1") for name, value in scope["headers"] if name == _KEY_HEADER])


def _patterns() -> Iterator[tuple[re.Pattern[str], Protocol, bool]]:
    for protocol in PROTOCOLS.values():
        for path, explains in protocol.asks.items():
            yield re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(path))), protocol, explains


_PATTERNS = [*_patterns()]
