"""What the service tells Prometheus, on /metrics: how it answers, how old the features are, and what goes wrong.

The labels are names of models, views and reasons, so that no caller can make more of them.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from ratchet.core.errors import RatchetError
from ratchet.feature_store.freshness import Freshness, read_freshness
from ratchet.feature_store.online_features import ABSENCES, FRESH, TOLERATED, UNUSABLE, Found
from ratchet.prediction_log.arms import CHALLENGER, CHAMPION
from ratchet.project.run import Run
from ratchet.use_case.contract import Lookup

if TYPE_CHECKING:
    import prometheus_client

    from inference_pipeline.online.histogram import BulkHistogram
    from inference_pipeline.online.shadow import Shadow

logger = logging.getLogger(__name__)
RUNGS = {FRESH: "fresh", TOLERATED: "tolerated", UNUSABLE: "baseline"}
"""How an answer was made: with features as training knew them, with some that are a little too old or too new, or without."""
GIVEN = "given"
"""Or with what the caller gave."""
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds."""


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
    """Counts predictions by arm and rung, and those for which a view had no features, once for each reason; and how long
    answers took.

    A counter of Prometheus takes as long as reading a feature, so they are only told to it from time to time.
    """

    def __init__(self, model: str, lookups: Sequence[Lookup]) -> None:
        self._model = model
        self._views = [lookup.view for lookup in lookups]
        self._rungs: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.failures = 0
        """Requests that a challenger could not answer, so that the champion did."""
        self._absences: Counter[tuple[str | None, ...]] = Counter()
        for arm, rung in product((CHAMPION, CHALLENGER), (*RUNGS.values(), GIVEN)):
            _predictions().labels(model, arm, rung)  # each begins at 0, so that its first increase can be seen
        for view in {*self._views}:
            for reason in ABSENCES:
                _absent().labels(model, view, reason)

    def add(self, arm: str, rungs: Iterable[str]) -> None:
        self._rungs.update((arm, rung) for rung in rungs)

    def took(self, arm: str, seconds: float) -> None:
        """Note how long an answer took, from the read body to the written log."""
        self._seconds[arm].append(seconds)

    def add_absences(self, found: Found) -> None:
        self._absences.update(map(tuple, found.absences))

    def show(self) -> None:
        """Tell Prometheus what was counted since the last time."""
        rungs, absences = self._rungs.copy(), self._absences.copy()
        self._rungs.subtract(rungs)
        self._absences.subtract(absences)
        for (arm, rung), count in rungs.items():
            _predictions().labels(self._model, arm, rung).inc(count)
        failures, self.failures = self.failures, 0
        _failures().labels(self._model).inc(failures)
        took, self._seconds = self._seconds, defaultdict(list)
        for arm, seconds in took.items():
            _took().labels(self._model, arm).observe_all(seconds)
        for reasons, count in absences.items():
            for view, reason in {*zip(self._views, reasons, strict=True)}:
                if reason:
                    _absent().labels(self._model, view, reason).inc(count)


def show_problems(model: str, problems: Container[str]) -> None:
    """Say for each part of the service whether it has a problem."""
    for part in ("release", "store", "log", "rollout"):
        _problem().labels(model, part).set(part in problems)


def show_rollout(model: str, share: int, shadow: Shadow) -> None:
    """Say which share of callers a challenger answers, and what it did in the shadow since the last time."""
    _share().labels(model).set(share / 100)
    predicted, shadow.predicted = shadow.predicted, 0
    failed, shadow.failed = shadow.failed, 0
    dropped, shadow.dropped = shadow.dropped, 0
    for outcome, count in (("predicted", predicted), ("failed", failed), ("dropped", dropped)):
        _shadow().labels(model, outcome).inc(count)


def show_lost(model: str, count: int) -> None:
    """Count predictions that were served without being logged."""
    _lost().labels(model).inc(count)


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

    help_text = "Predictions by who answered, and how: with fresh, tolerated or given features, or by the baseline"
    return prometheus_client.Counter("ratchet_predictions", help_text, ["model", "arm", "rung"])


@cache
def _took() -> BulkHistogram:
    from inference_pipeline.online.histogram import BulkHistogram

    help_text = "How long answers took, from the read body to the written log"
    return BulkHistogram("ratchet_prediction_seconds", help_text, ["model", "arm"], buckets=_BUCKETS)


@cache
def _failures() -> prometheus_client.Counter:
    import prometheus_client

    help_text = "Requests that a challenger could not answer, so that the champion did"
    return prometheus_client.Counter("ratchet_challenger_failures", help_text, ["model"])


@cache
def _share() -> prometheus_client.Gauge:
    import prometheus_client

    help_text = "The share of callers whom a challenger answers; 0 if none does"
    return prometheus_client.Gauge("ratchet_challenger_share", help_text, ["model"], multiprocess_mode="mostrecent")


@cache
def _shadow() -> prometheus_client.Counter:
    import prometheus_client

    help_text = "Answers of the champion that a challenger in the shadow predicted, too, failed on, or had no time for"
    return prometheus_client.Counter("ratchet_shadow", help_text, ["model", "outcome"])


@cache
def _problem() -> prometheus_client.Gauge:
    import prometheus_client

    help_text = (
        "1 if a part is not as it should be: the release may not be the latest one, or the log cannot be written"
    )
    return prometheus_client.Gauge("ratchet_problem", help_text, ["model", "part"], multiprocess_mode="mostrecent")


@cache
def _lost() -> prometheus_client.Counter:
    import prometheus_client

    help_text = "Predictions that were served without being logged, because the setting serving.unlogged says so"
    return prometheus_client.Counter("ratchet_unlogged", help_text, ["model"])
