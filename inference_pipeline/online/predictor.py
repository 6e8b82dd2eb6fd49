"""Turn valid requests into logged predictions of one release."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from inference_pipeline.online.log_writer import LogWriter
from inference_pipeline.online.metrics import RUNGS, Counts
from inference_pipeline.online.protocols.port import KEY_HEADER, Prediction, Predictions, Reader
from inference_pipeline.online.release import Release
from inference_pipeline.online.requests import Requests
from inference_pipeline.online.scorer import Scorer, only
from ratchet.core.clock import Clock
from ratchet.core.errors import ReusedKeyError, StoreUnavailableError
from ratchet.feature_store.online_features import SECOND, UNUSABLE, Found, OnlineFeatures
from ratchet.prediction_log.answered_keys import request_ids
from ratchet.prediction_log.online_lines import OnlineLines, Row
from ratchet.prediction_log.schema import ARM, keyed_ids, online_ids, without_missing
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import UseCase

AT_ONCE = 20
"""Up to so many rows are predicted at once. More of them would keep other requests waiting, and go to a thread."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Answer:
    """Predictions, and the rows of the log that say how they were made."""

    predictions: Predictions
    rows: Sequence[Row]


@dataclass(frozen=True)
class Predictor:
    """One release, with the features that it reads and the log that it writes. `baseline` answers without features."""

    release: Release
    use_case: UseCase
    champion: Scorer
    baseline: Scorer | None
    features: OnlineFeatures
    log: LogWriter
    clock: Clock
    readers: Mapping[str, Reader]
    """By the name of the protocol."""
    counts: Counts

    async def predict(self, requests: Requests, key: str | None = None) -> Predictions:
        """Predict and log. A request with a caller's key that was answered before gets the logged answer.

        Raises StoreUnavailableError if features cannot be used and no baseline answers, or if the log cannot be written: every
        answer is logged first. Raises ReusedKeyError if another request had the key.
        """
        if key is None:
            now, rows = self.clock.now(), len(requests.times)
            answer = await self._answer(requests, now, online_ids(now, rows), [None] * rows)
            await self.log.append(answer.rows, now.date())
            return answer.predictions
        answering = await self.log.in_turn(partial(self._predict_once, requests, key))
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            answering.add_done_callback(self._abandoned)
            raise

    async def _predict_once(self, requests: Requests, key: str) -> Predictions:
        async with self.log.answered(key) as answered:
            if answered.rows is not None:
                return self._repeated(key, answered.rows, requests)
            now, names = self.clock.now(), request_ids(key, len(requests.times))
            answer = await self._answer(requests, now, keyed_ids(now, self.release.model_name, names), names)
            await answered.append(answer.rows, now.date())
            return answer.predictions

    def _abandoned(self, answering: asyncio.Future[Predictions]) -> None:
        if not answering.cancelled() and answering.exception() is None:
            self.undelivered(answering.result())

    def undelivered(self, predictions: Predictions) -> None:
        """Mark predictions whose caller is gone. A repeated answer is not marked: it may have been delivered before."""
        if not predictions.is_repeated:
            self.log.mark_undelivered([row.id for row in predictions.rows])

    def delivered(self, predictions: Predictions) -> None:
        """Note that a repeated answer was delivered: it may not have been before."""
        if predictions.is_repeated:
            self.log.mark_delivered([row.id for row in predictions.rows])

    async def _answer(
        self, requests: Requests, now: datetime, ids: Sequence[str], names: Sequence[str | None]
    ) -> _Answer:
        found = await self._found(requests)
        if len(ids) <= AT_ONCE:
            values = self._values(requests, found)
        else:
            values = await asyncio.to_thread(self._values, requests, found)
        self.counts.add(found)
        head = {"time": now.astimezone(UTC).isoformat(), "model_name": self.release.model_name, "arm": ARM}
        rows = [
            {"prediction_id": ids[row], "request_id": names[row], **head, **self._row(requests, found, row, value)}
            for row, value in enumerate(values.tolist())
        ]
        given = [_prediction(row, _ages(requests.times[place], found, place)) for place, row in enumerate(rows)]
        return _Answer(Predictions(self.release.model_name, given), rows)

    async def _found(self, requests: Requests) -> Found:
        """The features of requests. Raises StoreUnavailableError if they cannot be used, and there is no baseline."""
        try:
            found = await self.features.read(requests.values, requests.times)
        except StoreUnavailableError:
            if self.baseline is None:
                raise
            return self.features.unavailable(len(requests.times))
        if self.baseline is None and UNUSABLE in found.rungs:
            raise StoreUnavailableError(
                "holds no features that may be used: they are too old, or newer than the request",
                subject="online store",
                remedy=f"Run the feature pipeline of {self.use_case.name}; `ratchet status` says how old its features are",
            )
        return found

    def _values(self, requests: Requests, found: Found) -> Floats:
        """The predictions: the baseline's for requests whose features cannot be used."""
        columns = self.use_case.complete({**requests.columns, **found.columns})
        if self.baseline is None or UNUSABLE not in found.rungs:
            return self.champion.predict(columns)
        without = np.array(found.rungs) == UNUSABLE
        values = np.empty(len(without))
        values[without] = self.baseline.predict(only(columns, without))
        if not without.all():
            values[~without] = self.champion.predict(only(columns, ~without))
        return values

    def _row(self, requests: Requests, found: Found, row: int, value: float) -> Row:
        """What is logged of a prediction, without what all predictions of the answer have in common."""
        rung = found.rungs[row]
        scorer = self.baseline if self.baseline and rung == UNUSABLE else self.champion
        return {
            "model_version": scorer.released.version,
            "model_digest": scorer.released.digest,
            "feature_service": scorer.released.feature_service,
            **self.lines.known(requests.values, requests.times, found, row),
            "prediction": value,
            "rung": RUNGS[rung],
        }

    def _repeated(self, key: str, held: Sequence[Row], requests: Requests) -> Predictions:
        """The logged answer, whichever model gave it."""
        asked = [self.lines.request(requests.values, requests.times, row) for row in range(len(requests.times))]
        if [without_missing(row["request"]) for row in held] != [without_missing(row) for row in asked]:
            raise ReusedKeyError(
                f"{key!r} was sent before, at {held[0]['time']}, with a different request",
                subject=KEY_HEADER,
                remedy="Send a key of its own with each request, and the same body when you repeat one",
            )
        rows = [_prediction(row, _logged_ages(row)) for row in held]
        return Predictions(self.release.model_name, rows, is_repeated=True)

    @cached_property
    def lines(self) -> OnlineLines:
        return OnlineLines(self.release.keys, self.use_case.request_fields())


def _prediction(row: Row, ages: Mapping[str, float | None]) -> Prediction:
    return Prediction(row["prediction"], row["prediction_id"], row["model_version"], row["arm"], row["rung"], ages)


def _ages(time: int, found: Found, row: int) -> dict[str, float | None]:
    """Lookup → for how many seconds its row had held at the request's time. Below 0, it is newer than the request."""
    held = zip(found.lookups, found.since[row], strict=True)
    return {name: None if since is None else (time - since) / SECOND for name, since in held}


def _logged_ages(row: Row) -> dict[str, float | None]:
    """The same from a row of the log."""
    time = datetime.fromisoformat(row["request"][EVENT_TIMESTAMP])
    since = {name: text and datetime.fromisoformat(text) for name, text in row["feature_timestamps"].items()}
    return {name: (time - each).total_seconds() if each else None for name, each in since.items()}
