"""What the service tells Prometheus, on BentoML's /metrics: how old the features are, and how often they were absent.

The labels are names of models, views and reasons, so that no caller can make more of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ratchet.core.errors import RatchetError
from ratchet.feature_store.freshness import Freshness, read_freshness
from ratchet.feature_store.online_reads import ABSENCES
from ratchet.project.run import Run
from ratchet.use_case.contract import Columns, Lookup

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge

logger = logging.getLogger(__name__)


def show_freshness(run: Run) -> None:
    """Set the gauges of every view of a use case. While the online store is being written, they only grow older."""
    try:
        views = read_freshness(run.paths.materialized_file)
    except (OSError, ValueError, LookupError, RatchetError) as error:
        logger.warning("the age of the features is unknown: %s", error)
        return
    for view, found in views.items():
        _show(run.scope.namespace, view, found, run.clock.now())


def _show(model: str, view: str, found: Freshness, now: datetime) -> None:
    age = found.age(now)
    _gauge("age_seconds").labels(model, view).set(math.inf if age is None else age.total_seconds())
    _gauge("fresh").labels(model, view).set(found.is_fresh(now))
    if found.max_age_seconds is not None:
        _gauge("max_age_seconds").labels(model, view).set(found.max_age_seconds)


def start_counting(model: str, lookups: Iterable[Lookup]) -> None:
    """Begin each count at 0, so that its first increase can be seen."""
    for view in {lookup.view for lookup in lookups}:
        for reason in ABSENCES:
            _counter().labels(model, view, reason)


def count_absences(model: str, lookups: Iterable[Lookup], absences: Columns) -> None:
    """Count the predictions for which a view had no features, once for each reason."""
    lookups = [*lookups]
    for view in {lookup.view for lookup in lookups}:
        found = np.array([absences[lookup.prefix] for lookup in lookups if lookup.view == view])
        for reason in ABSENCES:
            _counter().labels(model, view, reason).inc(int((found == reason).any(axis=0).sum()))


_GAUGES = {
    "age_seconds": "The time since the newest row of the view that held when the online store was written",
    "max_age_seconds": "The age from which features of the view are not used",
    "fresh": "1 if the online store has rows of the view and not all of them are too old, else 0",
}


@cache
def _gauge(name: str) -> Gauge:
    """A gauge. BentoML must have prepared its workers before prometheus_client is imported."""
    import prometheus_client

    return prometheus_client.Gauge(
        f"ratchet_view_{name}", _GAUGES[name], ["model", "view"], multiprocess_mode="mostrecent"
    )


@cache
def _counter() -> Counter:
    import prometheus_client

    help_text = "Predictions for which the view had no features, by reason"
    return prometheus_client.Counter("ratchet_view_absent", help_text, ["model", "view", "reason"])
