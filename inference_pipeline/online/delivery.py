"""The way from a logged prediction to its caller: an answer that the caller never got is marked in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from inference_pipeline.online.protocols.port import Predictions
from ratchet.core.errors import StoreError
from ratchet.prediction_log.online_log import OnlineLog

logger = logging.getLogger(__name__)


async def predicted(worker: Executor, predict: Callable[[], Predictions], log: OnlineLog) -> Predictions:
    """Predict in the worker. If the request is cancelled meanwhile, as by a timeout, its answer is marked as undelivered.

    What has not begun is then never done.
    """
    future = worker.submit(predict)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(partial(_abandoned, log))
        raise


def _abandoned(log: OnlineLog, future: Future[Predictions]) -> None:
    if not future.cancelled() and future.exception() is None:
        _mark_undelivered(log, future.result())


class LoggedAnswer(JSONResponse):
    """The answer to a request, which notes in the log if its caller has gone or is cut off before it is sent.

    It may still be lost on its way: only the caller can know. It may then repeat the request with its key.
    """

    def __init__(
        self, content: Any, predictions: Predictions, log: OnlineLog, worker: Executor, headers: Mapping[str, str]
    ) -> None:
        super().__init__(content, headers=headers)
        self._predictions, self._log, self._worker = predictions, log, worker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_delivered = False
        try:
            has_gone = await Request(scope, receive).is_disconnected()
            await super().__call__(scope, receive, send)
            is_delivered = not has_gone
        finally:
            if not is_delivered:
                _mark_undelivered(self._log, self._predictions)
        if is_delivered and self._predictions.is_repeated:
            self._worker.submit(_mark_delivered, self._log, self._predictions)


def _mark_undelivered(log: OnlineLog, predictions: Predictions) -> None:
    """A repeated answer is not marked: it may have been delivered before."""
    if not predictions.is_repeated:
        _mark(log.mark_undelivered, predictions)


def _mark_delivered(log: OnlineLog, predictions: Predictions) -> None:
    _mark(log.mark_delivered, predictions)


def _mark(mark: Callable[[list[str]], None], predictions: Predictions) -> None:
    """Nobody waits for an answer here, so that an error can only be reported in the service's own log."""
    try:
        mark([*predictions.ids])
    except StoreError:
        logger.exception("predictions %s could not be marked", ", ".join(predictions.ids))
