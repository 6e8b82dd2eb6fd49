"""The way of an answer to its caller: one that the caller never got is marked in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.types import Receive, Send

from inference_pipeline.online.access.answers import RawHeaders
from inference_pipeline.online.protocols.port import Predictions

if TYPE_CHECKING:
    from inference_pipeline.online.predictor import Predictor


class Delivery(msgspec.Struct, frozen=True):
    """Logged predictions of a predictor, as they are sent: headers and body of the answer."""

    predictor: Predictor
    predictions: Predictions
    headers: RawHeaders
    content: bytes

    async def send(self, receive: Receive, send: Send) -> None:
        """Send the answer, and note in the log if its caller has gone or is cut off before it is sent.

        It may still be lost on its way: only the caller can know. It may then repeat the request with its key.
        """
        is_delivered = False
        try:
            has_gone = _has_gone(receive)
            headers = [*self.headers, (b"content-length", b"%d" % len(self.content))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self.content})
            is_delivered = not has_gone
        finally:
            if not is_delivered:
                self.predictor.undelivered(self.predictions)
        if is_delivered:
            self.predictor.delivered(self.predictions)


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
