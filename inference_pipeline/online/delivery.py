"""The way of an answer to its caller: one that the caller never got is marked in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inference_pipeline.online.protocols.port import Predictions

if TYPE_CHECKING:
    from inference_pipeline.online.predictor import Predictor


class LoggedAnswer(Response):
    """The answer to a request, which notes in the log if its caller has gone or is cut off before it is sent.

    It may still be lost on its way: only the caller can know. It may then repeat the request with its key.
    """

    def __init__(
        self, content: bytes, headers: Mapping[str, str], predictions: Predictions, predictor: Predictor
    ) -> None:
        super().__init__(content, headers=headers)
        self._predictions, self._predictor = predictions, predictor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_delivered = False
        try:
            has_gone = _has_gone(receive)
            await super().__call__(scope, receive, send)
            is_delivered = not has_gone
        finally:
            if not is_delivered:
                self._predictor.undelivered(self._predictions)
        if is_delivered:
            self._predictor.delivered(self._predictions)


def _has_gone(receive: Receive) -> bool:
    """Whether the server knows that the caller has gone. It is asked once, and not waited for.

    Starlette's `Request.is_disconnected` does the same by a cancelled scope, which takes as long as a prediction.
    """
    asking = receive().__await__()
    try:
        next(asking)
    except StopIteration as told:
        return bool(told.value["type"] == "http.disconnect")
    asking.close()
    return False
