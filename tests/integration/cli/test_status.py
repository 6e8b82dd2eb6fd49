"""`ratchet status` says how far the data go, and what is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.render_status import render_data
from ratchet.core.clock import FixedClock
from ratchet.project.data_status import data_status
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.project.steps import STEPS
from tests.support.messages import missing
from tests.support.noshow import CLOSED
from tests.support.runs import noshow_project
from tests.support.windows import at

LATER = CLOSED - timedelta(days=7)


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
    assert [] == missing(due["feature"], "2024-07-24T18:05")
    assert [] == missing(due["inference"], "2024-07-24T18:05")
    assert "training" not in due


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
