"""Predict several requests together, while a slow model is busy with others.

A thread predicts; whatever comes meanwhile gathers, and is predicted together when it is free. So nobody waits for a time that
was set: batches are as large as the load makes them, and a request that comes alone is predicted alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from inference_pipeline.online.scorer import Floats, Scorer
from ratchet.use_case.contract import Columns


@dataclass(frozen=True)
class _Waiting:
    scorer: Scorer
    columns: Columns
    rows: int
    predicted: asyncio.Future[Floats]


class Batches:
    """Predicts up to `most` rows at once, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, "batches")
        self._waiting: list[_Waiting] = []
        self._is_busy = False

    async def predict(self, scorer: Scorer, columns: Columns, rows: int) -> Floats:
        """One prediction per row, shape (n,), as the scorer alone would give. Raises what the scorer raises for these rows."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(scorer, columns, rows, loop.create_future())
        self._waiting.append(waiting)
        if not self._is_busy:
            self._is_busy = True
            self._begin(loop)
        return await waiting.predicted

    def close(self) -> None:
        self._thread.shutdown()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._next()
        work = loop.run_in_executor(self._thread, _predicted, batch)
        work.add_done_callback(lambda done: self._end(loop, batch, done.result()))

    def _next(self) -> list[_Waiting]:
        """The requests that are predicted next: of one scorer, and no more rows than fit, but at least one request."""
        first, batch, rows = self._waiting[0], list[_Waiting](), 0
        for each in self._waiting:
            if batch and (each.scorer is not first.scorer or rows + each.rows > self._most):
                break
            batch.append(each)
            rows += each.rows
        self._waiting = self._waiting[len(batch) :]
        return batch

    def _end(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting], results: Sequence[Floats | Exception]
    ) -> None:
        for each, result in zip(batch, results, strict=True):
            if each.predicted.cancelled():
                continue
            if isinstance(result, Exception):
                each.predicted.set_exception(result)
            else:
                each.predicted.set_result(result)
        self._is_busy = bool(self._waiting)
        if self._is_busy:
            self._begin(loop)


def _predicted(batch: Sequence[_Waiting]) -> list[Floats | Exception]:
    """What the scorer says of each request. If it fails on all together, it is asked about each alone."""
    try:
        parts = [each.columns for each in batch]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        values = batch[0].scorer.predict(columns)
        ends = np.cumsum([each.rows for each in batch])
        return list(np.split(values, ends[:-1]))
    except Exception as error:  # noqa: BLE001 - it is raised for whom it concerns
        if len(batch) == 1:
            return [error]
        return [result for each in batch for result in _predicted([each])]
