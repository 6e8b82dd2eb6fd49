"""`ratchet status` says how far the data go, and what is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cli.render_status import render_data
from ratchet.core.clock import FixedClock
from ratchet.feature_store.freshness import freshness_of
from ratchet.feature_store.online_store import feast_project, online_store
from ratchet.project.data_status import data_status
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.project.steps import STEPS
from ratchet.storage.files import write_json
from tests.support.messages import missing
from tests.support.noshow import CLOSED, use_case
from tests.support.runs import noshow_project
from tests.support.windows import at

LATER = CLOSED - timedelta(days=7)
VIEW = replace(use_case.view("patient_history"), max_age=timedelta(hours=2))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A project a week before the newest that its source holds, of which every step has run."""
    run = at(noshow_project(tmp_path), LATER)
    for step in STEPS:
        run_step(run, step, lambda _: {})
    return run


def of_history(run: Run) -> Run:
    return run.with_settings(source=run.settings.source.model_copy(update={"history": True}))


def test_a_use_case_that_is_up_to_date_has_nothing_due(run: Run) -> None:
    """Each pipeline stands somewhere, and ran then."""
    found = data_status(at(of_history(run), LATER))
    assert {LATER.isoformat()} == {each["as_of"] for each in found["pipelines"].values()}
    assert {LATER.isoformat()} == {each["last_as_of"] for each in found["pipelines"].values()}
    assert (CLOSED.isoformat(), "7 days") == (found["newest"], found["lag"])
    (due,) = found["due"]
    assert [] == missing(due, CLOSED.isoformat(), "`ratchet advance tests.support.noshow`")


def test_what_was_advanced_and_not_run_is_due(run: Run) -> None:
    """A line for each pipeline, with the command that runs it."""
    found = data_status(at(of_history(run), CLOSED))
    assert ["training", "inference", "feature"] == [line.partition(":")[0] for line in found["due"]]
    assert all("`dvc repro monitor@" in line for line in found["due"])
    assert "no time" == found["lag"]


def test_a_schedule_that_was_missed_is_due(run: Run) -> None:
    """Training and inference are due as of the last feature run that was scheduled before theirs."""
    now = datetime(2024, 7, 24, 18, 30, tzinfo=UTC)
    found = data_status(replace(run, clock=FixedClock(now)))
    due = {line.partition(":")[0]: line for line in found["due"]}
    assert [] == missing(due["feature"], "2024-07-24T18:00")
    assert [] == missing(due["inference"], "2024-07-24T18:00")
    assert "training" not in due


def with_views(run: Run, **ages: timedelta | None) -> Run:
    """The run, with views in the online store whose newest rows were so old a week before CLOSED, and may be two hours old."""
    freshness = {
        name: freshness_of(VIEW, None if age is None else LATER - age, np.array([], "datetime64[us]")).as_of(LATER)
        for name, age in ages.items()
    }
    run.paths.state.mkdir(parents=True, exist_ok=True)
    store = online_store(run.environment, run.paths.state, feast_project(run.scope))
    store.create()
    store.set_mark("written")
    write_json(run.paths.materialized_file, {"inputs": "written", "report": {"freshness": freshness}})
    return run


def test_views_that_are_fresh_are_one_line(run: Run) -> None:
    """Of a source that holds the past, as of the features' instant."""
    found = data_status(of_history(with_views(run, visits=timedelta(hours=2), staff=timedelta(0))))
    assert (7200.0, True) == (found["freshness"]["visits"]["age_seconds"], found["freshness"]["visits"]["fresh"])
    (line,) = (line for line in render_data(found).splitlines() if line.startswith("views"))
    assert [] == missing(line, "2 of 2 fresh")


def test_an_online_store_that_was_put_back_is_named(run: Run) -> None:
    """And none of its views is called fresh."""
    marked = of_history(with_views(run, visits=timedelta(0)))
    store = online_store(run.environment, run.paths.state, feast_project(run.scope))
    for change, words in ((store.clear, "anew"), (lambda: store.set_mark("earlier"), "put back")):
        change()
        (line,) = (line for line in render_data(data_status(marked)).splitlines() if line.startswith("views"))
        assert [] == missing(line, words, "dvc repro materialize")


def test_each_view_that_is_too_old_is_shown(run: Run) -> None:
    """With its age and the one that it may have; so is one without rows."""
    ages = {"visits": timedelta(hours=2, minutes=1), "staff": timedelta(0), "rooms": None}
    found = data_status(of_history(with_views(run, **ages)))
    lines = [line for line in render_data(found).splitlines() if line.startswith("views")]
    assert [] == missing(lines[0], "1 of 3 fresh")
    assert [] == missing(lines[2], "visits", "2 hours 1 minute", "2 hours old at most", "2024-07-24 12:29Z")
    assert [] == missing(lines[1], "rooms", "no rows")
    assert 3 == len(lines)


def test_the_age_of_a_source_that_goes_on_grows_with_time(run: Run) -> None:
    """Whatever the instant of the features is."""
    live = with_views(run, visits=timedelta(0))
    for hours, is_fresh in ((2, True), (3, False)):
        later = replace(live, clock=FixedClock(LATER + timedelta(hours=hours)))
        found = data_status(later)["freshness"]["visits"]
        assert (hours * 3600.0, is_fresh) == (found["age_seconds"], found["fresh"])


def test_without_an_online_store_that_is_said(run: Run) -> None:
    """Nothing is claimed of views that nobody wrote."""
    assert {} == data_status(run)["freshness"]
    assert "none in the online store" in render_data(data_status(run))


def test_before_anything_was_computed(tmp_path: Path) -> None:
    """There is one thing to do."""
    found = data_status(replace(noshow_project(tmp_path), instants=None))
    (due,) = found["due"]
    assert "`ratchet advance" in due
    text = render_data(found)
    assert [] == missing(text, "feature", "2024-07-31 14:30Z", due)


def test_a_source_that_cannot_be_asked_is_said(run: Run) -> None:
    """And everything else is shown all the same."""
    found = data_status(run.with_settings(source=run.settings.source.model_copy(update={"name": "clinik"})))
    assert "clinik" in found["newest"]
    assert "clinik" in render_data(found)
