"""From valid requests to logged predictions, by one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from inference_pipeline.online.instances import to_columns
from ratchet import prediction_log
from ratchet.feature_store import OnlineFeatures
from ratchet.prediction_log import OnlineLog
from ratchet.project import Project
from ratchet.promotion import Champion


@dataclass(frozen=True)
class Predictor:
    """One model with the features that it reads and the log that it writes."""

    project: Project
    champion: Champion
    features: OnlineFeatures
    log: OnlineLog
    schema: pa.Schema

    def answer(self, instances: Sequence[BaseModel]) -> dict[str, Any]:
        """The V1 answer to valid instances. Raises RequestError, or StoreError where features or log are out of reach."""
        use_case, now = self.project.use_case, self.project.clock.now()
        requests = to_columns(use_case, instances)
        columns = use_case.complete({**requests, **self.features.read(requests)})
        predictions = self.champion.model.predict(columns)
        ids = prediction_log.online_ids(now, len(instances))
        times = np.full(len(instances), np.datetime64(now.replace(tzinfo=None), "us"))
        rows = prediction_log.entries(use_case, self.champion, columns, predictions, ids=ids, times=times)
        self.log.append(rows, now.date())
        return {
            "predictions": predictions.tolist(),
            "prediction_ids": ids,
            "model_name": self.champion.model.contract.model_name,
            "model_version": self.champion.version,
        }
