"""What Prometheus is told of views: their age, and how often they had nothing for a prediction."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from inference_pipeline.online.metrics import RUNGS, Counts, show_freshness
from ratchet.core.clock import FixedClock
from ratchet.feature_store.freshness import freshness_of
from ratchet.feature_store.online_features import FRESH, TOLERATED, Found
from ratchet.project.run import Run
from ratchet.storage.files import write_json
from ratchet.use_case.contract import Lookup
from tests.support.noshow import use_case
from tests.support.runs import noshow_project

NEWEST = datetime(2024, 7, 20, 12, tzinfo=UTC)
VIEW = use_case.view("patient_history")
NONE = np.array([], "datetime64[us]")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(noshow_project(tmp_path), clock=FixedClock(NEWEST + timedelta(hours=3)))


def shown(name: str, view: str) -> float | None:
    return REGISTRY.get_sample_value(f"ratchet_view_{name}", {"model": "noshow-clinic", "view": view})


def test_each_view_has_its_age(run: Run) -> None:
    """Beside the one that it may have, if there is such a limit; a view without rows is older than any limit."""
    found = {
        "visits": freshness_of(replace(VIEW, max_age=timedelta(hours=2)), NEWEST, NONE),
        "rooms": freshness_of(replace(VIEW, max_age=None), NEWEST, NONE),
        "staff": freshness_of(replace(VIEW, max_age=timedelta(hours=2)), None, NONE),
    }
    freshness = {name: each.as_of(NEWEST) for name, each in found.items()}
    write_json(run.paths.materialized_file, {"report": {"freshness": freshness}})
    show_freshness(run)
    assert [10800.0, 10800.0, math.inf] == [shown("age_seconds", view) for view in found]
    assert [7200.0, None, 7200.0] == [shown("max_age_seconds", view) for view in found]
    assert [0.0, 1.0, 0.0] == [shown("fresh", view) for view in found]


@pytest.mark.parametrize("text", ["", "[", "{}", '{"report": {"freshness": {"visits": {}}}}'])
def test_an_unreadable_file_does_not_end_the_polling(run: Run, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported, and the gauges stay as they are."""
    run.paths.materialized_file.parent.mkdir(parents=True)
    run.paths.materialized_file.write_text(text)
    show_freshness(run)
    assert "age of the features is unknown" in caplog.text


def test_while_the_store_is_written_nothing_is_reported(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """The file is absent then, which is no fault."""
    show_freshness(run)
    assert not caplog.text


def test_a_prediction_counts_once_for_each_view_and_reason() -> None:
    """However many lookups of the view found nothing."""
    lookups = [Lookup("depot", {}, name="from"), Lookup("depot", {}, name="to"), Lookup("route", {})]
    counting = Counts("counted", lookups)
    absences = [("stale", "stale", None), ("stale", "missing", None), (None, None, "no key")]
    for three, rung in zip(absences, (FRESH, TOLERATED, FRESH), strict=True):
        counting.add("champion", [RUNGS[rung]])
        counting.add_absences(Found([], [], [], [[]], [[None] * 3], [three], [rung]))
    counting.show()
    counting.show()
    counts = {
        (view, reason): REGISTRY.get_sample_value(
            "ratchet_view_absent_total", {"model": "counted", "view": view, "reason": reason}
        )
        for view in ("depot", "route")
        for reason in ("no key", "missing", "stale", "newer")
    }
    expected = {("depot", "stale"): 2, ("depot", "missing"): 1, ("route", "no key"): 1}
    assert {key: expected.get(key, 0) for key in counts} == counts
    rungs = {
        rung: REGISTRY.get_sample_value(
            "ratchet_predictions_total", {"model": "counted", "arm": "champion", "rung": rung}
        )
        for rung in ("fresh", "tolerated", "baseline")
    }
    assert {"fresh": 2, "tolerated": 1, "baseline": 0} == rungs
