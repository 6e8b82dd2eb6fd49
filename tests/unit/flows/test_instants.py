"""The instants as of which a flow run works."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flows.run_pipeline import instants_of
from ratchet.core.clock import FixedClock
from ratchet.core.errors import SettingsError
from ratchet.project.as_of import AsOf
from ratchet.project.run import Run
from tests.support.feed import feed_project


def day(number: int) -> datetime:
    return datetime(2024, 3, number, tzinfo=UTC)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Features of the third of March; training stood still on the first."""
    instants = AsOf(feature=day(3), training=day(1), inference=day(2))
    return replace(feed_project(tmp_path_factory.mktemp("feed")), instants=instants, clock=FixedClock(day(9)))


def test_one_if_nothing_else_is_asked(run: Run) -> None:
    """The one that is named."""
    assert [day(5)] == instants_of(run, "training", "2024-03-05", None, "1d")


def test_those_of_an_interval_from_where_the_pipeline_is(run: Run) -> None:
    """A run that is repeated goes on with the instant at which it was."""
    assert [day(1), day(3), day(5)] == instants_of(run, "training", "2024-03-05", "2024-03-01", "2d")
    assert [day(3), day(4)] == instants_of(run, "feature", "2024-03-04", "2024-03-01", "1d")


@pytest.mark.parametrize(
    ("as_of", "since", "step", "words"),
    [
        ("2024-03-02", "2024-03-01", "1d", "nothing is left"),
        ("2024-03-05", "soon", "1d", "neither a day"),
        ("2024-03-05", "2024-03-01", "daily", "no length"),
        ("2024-03-20", "2024-03-01", "1d", "in the future"),
        ("2024-03-20", None, "1d", "in the future"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, as_of: str, since: str | None, step: str, words: str) -> None:
    """With what to write, or where the pipeline is already."""
    with pytest.raises(SettingsError, match=words):
        instants_of(run, "feature", as_of, since, step)
