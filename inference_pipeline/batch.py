"""Batch predictions: the champion scores every request of a period, and the prediction log keeps them by UTC date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from inference_pipeline.champion import load_champion
from ratchet import feature_store, prediction_log, tables
from ratchet.clock import Period
from ratchet.project import PeriodName, Project
from ratchet.promotion import Champion
from ratchet.reports import Report
from ratchet.tables import Files

DAY = timedelta(days=1)


def predict(project: Project, period: PeriodName = "fresh") -> Report:
    """Score the period's requests; dates whose features and champion are those of the last run stand as they are.

    Raises RegistryError or GateError where no model may serve, StoreError where the features were not computed.
    """
    champion, span = load_champion(project), project.period(period)
    score = partial(_score, project, champion, span)
    changes = tables.update(project.predictions, _wanted(project, champion, span), score)
    return {
        "rows": sum(changes.rows.values()),
        "model_version": champion.version,
        "dates": {unit.removeprefix("date="): rows for unit, rows in changes.rows.items()},
        "from": span.start.isoformat(),
        "to": span.end.isoformat(),
    }


def _wanted(project: Project, champion: Champion, span: Period) -> dict[str, str]:
    """Every UTC date of the period → digest of the champion, the requests and all feature rows that may be joined to them."""
    use_case, features = project.use_case, project.features
    model = (champion.version, champion.model.digest, champion.model.contract.fingerprint)
    requests = _by_date(features / "requests")
    versions = feature_store.service_spec(use_case).views
    views = [(view.max_age, _by_date(features / "views" / versions[view.name])) for view in use_case.views]

    def inputs(day: date) -> str:
        joined = [
            {str(at): content for at, content in dates.items() if at <= day and (age is None or at >= day - age - DAY)}
            for age, dates in views
        ]
        return tables.digest(model, str(_within(span, day, day)), requests.get(day), joined)

    return {f"date={day}": inputs(day) for day in span.dates()}


def _by_date(directory: Path) -> dict[date, str]:
    contents = tables.unit_digests(directory)
    return {date.fromisoformat(unit.removeprefix("date=")): content for unit, content in contents.items()}


def _within(span: Period, first: date, last: date) -> Period:
    """The part of the period that lies in the UTC dates from first to last."""
    start, end = (datetime.combine(day, time(), UTC) for day in (first, last + DAY))
    return Period(max(span.start, start), min(span.end, end))


def _score(project: Project, champion: Champion, span: Period, stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
    days = {unit: date.fromisoformat(unit.removeprefix("date=")) for unit in stale}
    period = _within(span, min(days.values()), max(days.values()))
    columns = project.use_case.complete(feature_store.historical(project, period))
    times = columns["event_timestamp"]
    log = prediction_log.entries(
        project.use_case,
        champion,
        columns,
        champion.model.predict(columns),
        ids=prediction_log.batch_ids(champion.model.digest, columns),
        times=times,
    )
    for unit, day in days.items():
        rows = log.filter(pa.array(times.astype("datetime64[D]") == np.datetime64(day)))
        yield unit, {f"{unit}/part": rows} if rows.num_rows else {}
