"""Turn valid requests into logged predictions of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from inference_pipeline.online.metrics import count_absences, start_counting
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import KEY_HEADER, Predictions, Reader
from ratchet.core.errors import OtherFeaturesError, ReusedKeyError
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_reads import Found, OnlineFeatures
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.champion import Champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.answered_keys import AnsweredKeys, request_ids
from ratchet.prediction_log.online_log import OnlineLog
from ratchet.prediction_log.schema import (
    keyed_ids,
    log_entries,
    log_schema,
    logged_requests,
    online_ids,
    without_missing,
)
from ratchet.project.run import Run
from ratchet.use_case.contract import Columns


class Features(Protocol):
    """Where a request's features come from."""

    def read(self, requests: Columns) -> Found: ...


@dataclass(frozen=True)
class Predictor:
    """One model with the requests that it takes, the features that it reads and the log that it writes."""

    run: Run
    champion: Champion
    readers: Mapping[str, Reader]
    """By the name of the protocol."""
    features: Features
    log: OnlineLog
    log_schema: pa.Schema

    def predict(self, requests: Columns, key: str | None = None) -> Predictions:
        """Predict and log. A request with a caller's key that was answered before gets the logged answer.

        Raises StoreError if features or log are unavailable: every answer is logged first. Raises ReusedKeyError if another
        request had the key.
        """
        if key is None:
            now = self.run.clock.now()
            return self._predict(requests, now, online_ids(now, _rows(requests)))
        answered = AnsweredKeys(self.log)
        with answered.alone():
            held = answered.find(key)
            return self._predict_once(answered, requests, key) if held is None else self._repeat(held, requests, key)

    def _predict(self, requests: Columns, now: datetime, ids: Sequence[str]) -> Predictions:
        found, rows = self.features.read(requests), _rows(requests)
        columns = self.run.use_case.complete({**requests, **found.columns})
        predictions = self.champion.model.predict(columns)
        times = np.full(rows, np.datetime64(now.replace(tzinfo=None), "us"))
        entries = log_entries(
            self.log_schema, self.champion, columns, predictions, ids=ids, times=times, absences=found.absences
        )
        self.log.append(entries, now.date())
        count_absences(self._name, self.run.use_case.lookups, found.absences)
        return Predictions(predictions, ids, self._name, self.champion.version)

    def _predict_once(self, answered: AnsweredKeys, requests: Columns, key: str) -> Predictions:
        now, names = self.run.clock.now(), request_ids(key, _rows(requests))
        answered.announce(key, self.log.next_place(now.date()), len(names))
        named = {**requests, "request_id": np.array(names, object)}
        return self._predict(named, now, keyed_ids(now, self._name, names))

    def _repeat(self, held: Sequence[Mapping[str, Any]], requests: Columns, key: str) -> Predictions:
        """The logged answer, whichever model gave it."""
        if [without_missing(row["request"]) for row in held] != logged_requests(self.log_schema, requests):
            raise ReusedKeyError(
                f"{key!r} was sent before, at {held[0]['time']}, with a different request",
                subject=KEY_HEADER,
                remedy="Send a key of its own with each request, and the same body when you repeat one",
            )
        values = np.array([row["prediction"] for row in held], np.float64)
        ids = [row["prediction_id"] for row in held]
        return Predictions(values, ids, held[0]["model_name"], held[0]["model_version"], is_repeated=True)

    @property
    def _name(self) -> str:
        return self.champion.model.contract.model_name


def _rows(requests: Columns) -> int:
    return len(requests["event_timestamp"])


def load_predictor(run: Run) -> Predictor:
    """The predictor of the champion, with the online store. Raises RegistryError, GateError or StoreError."""
    start_counting(run.scope.namespace, run.use_case.lookups)
    return Predictor(
        run,
        _load_champion(run),
        {name: protocol.reader(run.use_case) for name, protocol in PROTOCOLS.items()},
        OnlineFeatures(FeatureStore.open(run)),
        OnlineLog(run.paths.online_log),
        log_schema(run.use_case),
    )


def _load_champion(run: Run) -> Champion:
    """The champion. If it needs other features than this process computes, the code may have changed since it started."""
    try:
        return load_champion(ModelRegistry.open(run))
    except OtherFeaturesError as error:
        again = "Start the service again if the code was changed since it began. Otherwise: "
        raise OtherFeaturesError(error.problem, subject=error.subject, remedy=again + error.remedy) from error
