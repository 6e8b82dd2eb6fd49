"""What the service tells Prometheus, on BentoML's /metrics: how old the features are, and how often they were absent.

The labels are names of models, views and reasons, so that no caller can make more of them.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from ratchet.core.errors import RatchetError
from ratchet.feature_store.freshness import Freshness, read_freshness
from ratchet.feature_store.online_features import ABSENCES, FRESH, TOLERATED, UNUSABLE, Found
from ratchet.project.run import Run
from ratchet.use_case.contract import Lookup

if TYPE_CHECKING:
    import prometheus_client

logger = logging.getLogger(__name__)
RUNGS = {FRESH: "fresh", TOLERATED: "tolerated", UNUSABLE: "baseline"}
"""How an answer was made: with features as training knew them, with some that are a little too old or too new, or without."""


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


class Counts:
    """Counts predictions by their rung, and those for which a view had no features, once for each reason.

    A counter of Prometheus takes as long as reading a feature, so they are only told to it from time to time.
    """

    def __init__(self, model: str, lookups: Sequence[Lookup]) -> None:
        self._model = model
        self._views = [lookup.view for lookup in lookups]
        self._rungs: Counter[int] = Counter()
        self._absences: Counter[tuple[str | None, ...]] = Counter()
        for rung in RUNGS.values():  # each begins at 0, so that its first increase can be seen
            _predictions().labels(model, rung)
        for view in {*self._views}:
            for reason in ABSENCES:
                _absent().labels(model, view, reason)

    def add(self, found: Found) -> None:
        self._rungs.update(found.rungs)
        self._absences.update(map(tuple, found.absences))

    def show(self) -> None:
        """Tell Prometheus what was counted since the last time."""
        rungs, absences = self._rungs.copy(), self._absences.copy()
        self._rungs.subtract(rungs)
        self._absences.subtract(absences)
        for rung, count in rungs.items():
            _predictions().labels(self._model, RUNGS[rung]).inc(count)
        for reasons, count in absences.items():
            for view, reason in {*zip(self._views, reasons, strict=True)}:
                if reason:
                    _absent().labels(self._model, view, reason).inc(count)


_GAUGES = {
    "age_seconds": "The time since the newest row of the view that held when the online store was written",
    "max_age_seconds": "The age from which features of the view are not used",
    "fresh": "1 if the online store has rows of the view and not all of them are too old, else 0",
}


@cache
def _gauge(name: str) -> prometheus_client.Gauge:
    """A gauge. BentoML must have prepared its workers before prometheus_client is imported."""
    import prometheus_client

    return prometheus_client.Gauge(
        f"ratchet_view_{name}", _GAUGES[name], ["model", "view"], multiprocess_mode="mostrecent"
    )


@cache
def _absent() -> prometheus_client.Counter:
    import prometheus_client

    help_text = "Predictions for which the view had no features, by reason"
    return prometheus_client.Counter("ratchet_view_absent", help_text, ["model", "view", "reason"])


@cache
def _predictions() -> prometheus_client.Counter:
    import prometheus_client

    help_text = "Predictions by the rung on which they were made: fresh features, tolerated ones, or the baseline"
    return prometheus_client.Counter("ratchet_predictions", help_text, ["model", "rung"])
