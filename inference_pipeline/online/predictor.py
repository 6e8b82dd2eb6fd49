"""Turn valid requests into logged predictions of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.port import Predictions, Reader
from ratchet.core.errors import OtherFeaturesError
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_reads import OnlineFeatures
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.champion import Champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.online_log import OnlineLog
from ratchet.prediction_log.schema import log_entries, log_schema, online_ids
from ratchet.project.run import Run
from ratchet.use_case.contract import Columns


class Features(Protocol):
    """Where a request's features come from."""

    def read(self, requests: Columns) -> Columns: ...


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

    def predict(self, requests: Columns) -> Predictions:
        """Predict and log. Raises StoreError if features or log are unavailable: every answer is logged first."""
        now, rows = self.run.clock.now(), len(requests["event_timestamp"])
        columns = self.run.use_case.complete({**requests, **self.features.read(requests)})
        predictions = self.champion.model.predict(columns)
        ids = online_ids(now, rows)
        times = np.full(rows, np.datetime64(now.replace(tzinfo=None), "us"))
        entries = log_entries(self.log_schema, self.champion, columns, predictions, ids=ids, times=times)
        self.log.append(entries, now.date())
        return Predictions(predictions, ids, self.champion.model.contract.model_name, self.champion.version)


def load_predictor(run: Run) -> Predictor:
    """The predictor of the champion, with the online store. Raises RegistryError, GateError or StoreError."""
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
