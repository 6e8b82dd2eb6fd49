"""Batch predictions: what serves scores every request of the fresh window that it has not scored yet."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

import pyarrow as pa

from inference_pipeline.batch.scorer import scorer
from inference_pipeline.champion import champion_throughout
from ratchet.core.clock import TICK, Period, midnight
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical, request_ids, request_times
from ratchet.model_registry.champion import Champion
from ratchet.prediction_log.batch_log import BatchLog
from ratchet.prediction_log.schema import batch_ids, log_entries, log_schema
from ratchet.prediction_log.scored_time import add_scored, as_json, unscored
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.use_case.columns import EVENT_TIMESTAMP

DAY = timedelta(days=1)


def predict(run: Run) -> Report:
    """Score the window's requests that this model, with this code, has not scored yet, and add them to the prediction log.

    A model scores no request from before the end of its training rows. Rows in the log never change: neither when another model
    serves, nor when a correction changes the features of a request that was scored. The report names the earlier periods whose
    requests no run has scored. Raises RegistryError or GateError if no model may serve, ReplacedError if another version
    replaced it meanwhile, StoreError if the features do not go as far as the inference pipeline.
    """
    features = FeatureStore.open(run)
    with champion_throughout(run) as champion:
        period = _period(run, champion)
        features.require(run.as_of("inference"), period.start)
        requested = request_ids(features, period)
        BatchLog(run.paths.predictions, scorer(champion)).add(requested, partial(_score, run, champion, period))
        _remember(run, features, period)
    dates = {day.isoformat(): len(ids) for day, ids in requested.items()}
    return {
        "rows": sum(dates.values()),
        "model_version": champion.version,
        "dates": dates,
        "from": period.start.isoformat(),
        "to": period.end.isoformat(),
        "trained_until": champion.model.contract.trained_until.isoformat(),
        "unscored": [as_json(hole) for hole in unscored(run)],
    }


def _remember(run: Run, features: FeatureStore, period: Period) -> None:
    """Remember that the requests of the period were scored, up to the last one that there is."""
    times = request_times(features, period)[EVENT_TIMESTAMP]
    if len(times):
        add_scored(run.paths.scored_file, Period(period.start, times[-1].as_py() + TICK))


def _period(run: Run, champion: Champion) -> Period:
    """The part of the fresh window that the model was not trained on."""
    fresh = run.period("fresh")
    start = max(fresh.start, champion.model.contract.trained_until)
    return Period(min(start, fresh.end), fresh.end)


def _score(run: Run, champion: Champion, period: Period, first: date, last: date) -> pa.Table:
    """Log entries for the period's requests of these dates, each as of its own timestamp."""
    span = Period(max(period.start, midnight(first)), min(period.end, midnight(last + DAY)))
    columns = run.use_case.complete(historical(FeatureStore.open(run), span))
    name = scorer(champion)
    return log_entries(
        log_schema(run.use_case),
        champion,
        columns,
        champion.model.predict(columns),
        ids=batch_ids(name, columns),
        times=columns["event_timestamp"],
        scorer=name,
    )
