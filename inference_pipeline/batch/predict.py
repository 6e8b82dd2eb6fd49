"""Batch predictions: the champion scores every request of a period. The prediction log keeps the predictions by UTC date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa

from inference_pipeline.champion import champion_throughout
from ratchet.code.code_digest import code_digest
from ratchet.core.clock import Period, midnight
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical
from ratchet.features.service import service_spec
from ratchet.model_registry.champion import Champion
from ratchet.prediction_log.schema import batch_ids, log_entries, log_schema
from ratchet.project.run import PeriodName, Run
from ratchet.project.step_reports import Report
from ratchet.storage.dated import Dated
from ratchet.storage.digests import digest
from ratchet.storage.partitions import Files, by_date, files, unit_digests, update

CODE = code_digest(__name__)
DAY = timedelta(days=1)


def predict(run: Run, period: PeriodName = "fresh") -> Report:
    """Score the period's requests. A date whose features and champion have not changed since the last run is not scored again.

    Raises RegistryError or GateError if no model may serve, RegistryError if another version replaced it meanwhile, StoreError
    if the features were not computed.
    """
    with champion_throughout(run) as champion:
        span = run.period(period)
        score = partial(_score, run, champion, span)
        changes = update(run.paths.predictions, _wanted(run, champion, span), score)
    return {
        "rows": sum(changes.rows.values()),
        "model_version": champion.version,
        "dates": changes.rows,
        "from": span.start.isoformat(),
        "to": span.end.isoformat(),
    }


def _wanted(run: Run, champion: Champion, span: Period) -> dict[str, str]:
    """Every UTC date of the period → digest of code, champion, requests and all feature rows that may be joined to them."""
    contract, features = champion.model.contract, run.paths.features
    model = (CODE, champion.version, champion.model.digest, contract.fingerprint)
    requests = unit_digests(features / "requests")
    versions = service_spec(run.use_case).views
    views = [(view.max_age, _dated(features / "views" / versions[view.name])) for view in run.use_case.views]

    def inputs(day: date) -> str:
        joined = [units.within(day - max_age - DAY if max_age else None, day) for max_age, units in views]
        return digest(model, str(_within(span, day, day)), requests.get(day.isoformat()), joined)

    return {day.isoformat(): inputs(day) for day in span.dates()}


def _dated(directory: Path) -> Dated:
    """The units of a view by date, which is their name; the unit of a view without dates has none."""
    units = unit_digests(directory)
    return Dated.of((unit if unit[:1].isdigit() else "", unit, content) for unit, content in units.items())


def _within(span: Period, first: date, last: date) -> Period:
    """The part of the period that lies within the UTC dates from `first` to `last`."""
    return Period(max(span.start, midnight(first)), min(span.end, midnight(last + DAY)))


def _score(run: Run, champion: Champion, span: Period, stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
    first, last = date.fromisoformat(stale[0]), date.fromisoformat(stale[-1])
    if not files(run.paths.features / "requests", first, last):
        yield from ((unit, {}) for unit in stale)
        return
    found = by_date(_predictions(run, champion, _within(span, first, last)), "time")
    for unit in stale:
        rows = found.get(date.fromisoformat(unit))
        yield unit, {f"date={unit}/part": rows} if rows is not None else {}


def _predictions(run: Run, champion: Champion, period: Period) -> pa.Table:
    """Log entries for the period's requests, each as of its own timestamp."""
    columns = run.use_case.complete(historical(FeatureStore.open(run), period))
    return log_entries(
        log_schema(run.use_case),
        champion,
        columns,
        champion.model.predict(columns),
        ids=batch_ids(champion.model.digest, columns),
        times=columns["event_timestamp"],
    )
