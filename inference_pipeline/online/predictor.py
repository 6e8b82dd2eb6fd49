"""Turn valid requests into logged predictions of one release."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, TypeVar

import msgspec
import numpy as np

from inference_pipeline.online.arms import Arm, Arms
from inference_pipeline.online.batches import Batches
from inference_pipeline.online.explanations import Explanation, ExplanationThread
from inference_pipeline.online.instances import REQUESTS, VECTORS, InstanceReader
from inference_pipeline.online.prepared import Given, LookedUp, Prepared
from inference_pipeline.online.protocols.port import KEY_HEADER, Inputs, Prediction, Predictions
from inference_pipeline.online.release import Release
from inference_pipeline.online.requests import Requests
from inference_pipeline.online.rollout_watch import RolloutWatch
from inference_pipeline.online.scorer import Scorer, only
from inference_pipeline.online.shadow import Mirrored
from inference_pipeline.online.shared import Shared
from inference_pipeline.online.vectors import Vectors
from ratchet.core.clock import Clock
from ratchet.core.errors import RequestError, ReusedKeyError, StoreUnavailableError
from ratchet.feature_store.online_features import UNUSABLE, Found, OnlineFeatures, micros_of
from ratchet.prediction_log.answered_keys import request_ids
from ratchet.prediction_log.arms import CHALLENGER
from ratchet.prediction_log.online_lines import VECTOR, OnlineLines, Row
from ratchet.prediction_log.schema import keyed_ids, online_ids, without_missing
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import Columns, UseCase

AT_ONCE = 20
"""Up to so many rows are predicted at once. More of them would keep other requests waiting, and go to a thread."""
T = TypeVar("T")


class _Answer(msgspec.Struct, frozen=True):
    """Predictions, and the rows of the log that say how they were made."""

    arm: Arm
    prepared: Prepared
    predictions: Predictions
    rows: Sequence[Row]


@dataclass(frozen=True)
class Predictor:
    """One release, with the features that it reads, and what it shares with others. `baseline` answers without features."""

    release: Release
    use_case: UseCase
    arms: Arms
    baseline: Scorer | None
    features: OnlineFeatures
    shared: Shared
    clock: Clock
    instances: Mapping[str, InstanceReader[Inputs]]
    """What may be sent, by the end of the model's name: REQUESTS or VECTORS."""
    watch: RolloutWatch
    explanations: ExplanationThread = field(default_factory=ExplanationThread)

    def pinned(self, version: str) -> Predictor | None:
        """What answers with this version alone; None if it is not loaded."""
        arms = self.arms.pinned(version)
        if arms is None:
            return None
        return self if arms is self.arms else replace(self, arms=arms)

    async def predict(self, inputs: Inputs, key: str | None = None, *, explains: bool = False) -> Predictions:
        """Predict and log. A request with a caller's key that was answered before gets the logged answer.

        Raises StoreUnavailableError if features cannot be used and no baseline answers, or if the log cannot be written: every
        answer is logged first. Raises ReusedKeyError if another request had the key.
        """
        began = time.perf_counter()
        if key is None:
            now, rows = self.clock.now(), len(inputs)
            answer = await self._answer(inputs, now, online_ids(now, rows), [None] * rows, explains=explains)
            await self.shared.log.append(answer.rows, now.date())
            self._answered(answer, began)
            return answer.predictions
        if explains:
            raise RequestError(
                "cannot be sent for an explanation: it is not kept, so it could not be repeated",
                subject=KEY_HEADER,
                remedy="Leave it out, or ask for the prediction alone",
            )
        answering = await self.shared.log.in_turn(partial(self._predict_once, inputs, key, began))
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            answering.add_done_callback(self._abandoned)
            raise

    async def _predict_once(self, inputs: Inputs, key: str, began: float) -> Predictions:
        async with self.shared.log.answered(key) as answered:
            if answered.rows is not None:
                return self._repeated(key, answered.rows, inputs)
            now, names = self.clock.now(), request_ids(key, len(inputs))
            answer = await self._answer(inputs, now, keyed_ids(now, self.release.model_name, names), names)
            await answered.append(answer.rows, now.date())
            self._answered(answer, began)
            return answer.predictions

    def _answered(self, answer: _Answer, began: float) -> None:
        """Note a logged answer, and let a challenger in the shadow predict it, too."""
        seconds = time.perf_counter() - began
        self.shared.counts.took(answer.arm.name, seconds)
        if self.arms.rollout is None:
            return
        self.watch.answered(answer.arm.name, seconds)
        if challenger := self.arms.mirrored:
            self.shared.shadow.mirror(Mirrored(challenger, self.watch, answer.prepared, answer.rows))

    def _abandoned(self, answering: asyncio.Future[Predictions]) -> None:
        if not answering.cancelled() and answering.exception() is None:
            self.undelivered(answering.result())

    def undelivered(self, predictions: Predictions) -> None:
        """Mark predictions whose caller is gone. A repeated answer is not marked: it may have been delivered before."""
        if not predictions.is_repeated:
            self.shared.log.mark_undelivered([row.id for row in predictions.rows])

    def delivered(self, predictions: Predictions) -> None:
        """Note that a repeated answer was delivered: it may not have been before."""
        if predictions.is_repeated:
            self.shared.log.mark_delivered([row.id for row in predictions.rows])

    async def _answer(
        self,
        inputs: Inputs,
        now: datetime,
        ids: Sequence[str],
        names: Sequence[str | None],
        *,
        explains: bool = False,
    ) -> _Answer:
        prepared = await self._prepared(inputs, now)
        arm, values, explained = await self._said(self.arms.of(inputs), prepared, explains=explains)
        self.shared.counts.add(arm.name, map(prepared.rung, range(len(ids))))
        head = {"time": now.astimezone(UTC).isoformat(), "model_name": self.release.model_name, "arm": arm.name}
        rows = [
            {"prediction_id": ids[row], "request_id": names[row], **head, **self._row(arm, prepared, row, value)}
            for row, value in enumerate(values)
        ]
        given = [_prediction(row, prepared.ages(place), explained[place]) for place, row in enumerate(rows)]
        return _Answer(arm, prepared, self._predictions(inputs, given, arm.scorer.released.version), rows)

    async def _said(
        self, arm: Arm, prepared: Prepared, *, explains: bool
    ) -> tuple[Arm, Sequence[float], Sequence[Explanation | None]]:
        """What an arm says. If a challenger fails, the champion answers, so that no caller notices."""
        try:
            values = await self._values(arm, prepared)
            explained: Sequence[Explanation | None] = [None] * len(values)
            if explains:
                explained = await self.explanations.run(partial(self._explained, arm, prepared))
        except RequestError:
            raise
        except Exception as error:
            if arm.name != CHALLENGER:
                raise
            self.watch.failed(error)
            self.shared.counts.failures += 1
            return await self._said(self.arms.first, prepared, explains=explains)
        return arm, values, explained

    async def _prepared(self, inputs: Inputs, now: datetime) -> Prepared:
        """Raises StoreUnavailableError if features cannot be used, and there is no baseline."""
        if isinstance(inputs, Vectors):
            return Given(self.lines, inputs, micros_of(now))
        found = await self._found(inputs)
        self.shared.counts.add_absences(found)
        return LookedUp(self.use_case, self.lines, inputs, found)

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

    async def _values(self, arm: Arm, prepared: Prepared) -> list[float]:
        """The predictions: the baseline's for rows whose features cannot be used."""
        if self.shared.batches:
            return await self._batched(self.shared.batches, arm, prepared)
        if arm.scorer.takes_rows and len(prepared.unusable) == 1 and not prepared.unusable[0]:
            return [arm.scorer.predict_row(prepared.row)]
        work = partial(self._by_scorer, arm, prepared, lambda scorer, columns: scorer.predict(columns).tolist())
        return work() if len(prepared.unusable) <= AT_ONCE else await asyncio.to_thread(work)

    async def _batched(self, batches: Batches, arm: Arm, prepared: Prepared) -> list[float]:
        """The same predictions, made together with those of other requests."""
        without = np.array(prepared.unusable) if self.baseline else np.zeros(len(prepared.unusable), bool)
        values = np.empty(len(without))
        for scorer, rows in ((self.baseline, without), (arm.scorer, ~without)):
            if scorer and rows.any():
                values[rows] = await batches.predict(scorer, only(prepared.columns, rows), int(rows.sum()))
        return values.tolist()

    def _explained(self, arm: Arm, prepared: Prepared) -> list[Explanation]:
        return self._by_scorer(arm, prepared, Scorer.explain)

    def _by_scorer(self, arm: Arm, prepared: Prepared, ask: Callable[[Scorer, Columns], Sequence[T]]) -> list[T]:
        """What each row's own model says of it."""
        columns = prepared.columns
        if self.baseline is None or not any(prepared.unusable):
            return list(ask(arm.scorer, columns))
        without = np.array(prepared.unusable)
        answers = {True: iter(ask(self.baseline, only(columns, without))), False: iter(())}
        if not without.all():
            answers[False] = iter(ask(arm.scorer, only(columns, ~without)))
        return [next(answers[each]) for each in without.tolist()]

    def _row(self, arm: Arm, prepared: Prepared, row: int, value: float) -> Row:
        """What is logged of a prediction, without what all predictions of the answer have in common."""
        released = (self.baseline if self.baseline and prepared.unusable[row] else arm.scorer).released
        return {
            "model_version": released.version,
            "model_digest": released.digest,
            "feature_service": released.feature_service,
            **prepared.known(row),
            "prediction": value,
            "rung": prepared.rung(row),
        }

    def _predictions(
        self, inputs: Inputs, rows: Sequence[Prediction], version: int, *, is_repeated: bool = False
    ) -> Predictions:
        name = self.release.model_name + (VECTORS if isinstance(inputs, Vectors) else REQUESTS)
        return Predictions(name, version, rows, is_repeated)

    def _repeated(self, key: str, held: Sequence[Row], inputs: Inputs) -> Predictions:
        """The logged answer, whichever model gave it."""
        if [_asked(row) for row in held] != [_asked(row) for row in self._logged(inputs)]:
            raise ReusedKeyError(
                f"{key!r} was sent before, at {held[0]['time']}, with a different request",
                subject=KEY_HEADER,
                remedy="Send a key of its own with each request, and the same body when you repeat one",
            )
        rows = [_prediction(row, _logged_ages(row)) for row in held]
        return self._predictions(inputs, rows, self.release.champion.version, is_repeated=True)

    def _logged(self, inputs: Inputs) -> list[Row]:
        """What the log would say of what is asked."""
        if isinstance(inputs, Vectors):
            return [self.lines.given(row, 0) for row in inputs.rows]
        rows = range(len(inputs.times))
        return [{"request": self.lines.request(inputs.values, inputs.times, row)} for row in rows]

    @cached_property
    def lines(self) -> OnlineLines:
        return OnlineLines(self.release.keys, self.use_case.request_fields())


def _asked(row: Row) -> dict[str, Any]:
    """What a caller asked, from a row of the log. The time of a ready vector is that of its answer."""
    return {VECTOR: row[VECTOR]} if VECTOR in row else without_missing(row["request"])


def _prediction(row: Row, ages: Mapping[str, float | None], explanation: Explanation | None = None) -> Prediction:
    return Prediction(
        row["prediction"], row["prediction_id"], row["model_version"], row["arm"], row["rung"], ages, explanation
    )


def _logged_ages(row: Row) -> dict[str, float | None]:
    """The ages of the features from a row of the log."""
    time = datetime.fromisoformat(row["request"][EVENT_TIMESTAMP])
    since = {name: text and datetime.fromisoformat(text) for name, text in row["feature_timestamps"].items()}
    return {name: (time - each).total_seconds() if each else None for name, each in since.items()}
