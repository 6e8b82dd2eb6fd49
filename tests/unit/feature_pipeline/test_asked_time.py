"""A source that is asked for another time than before: as of the past, or for a shorter or a longer history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from feature_pipeline.ingest import ingest
from ratchet.core.clock import Period
from ratchet.project.run import Run
from ratchet.use_case.batch import Batch
from tests.support import feed
from tests.support.feed import deliver, payment
from tests.support.killing import contents
from tests.support.paid import FIRST, after, begin, bring, held, late_at
from tests.support.variants import with_use_case
from tests.support.windows import at


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A source that goes on delivering, asked for the first time as of the first day's end."""
    return begin(tmp_path)


def not_yet(path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch]:
    """The folder; its batch `two` is there since after the first day."""
    yield from (batch for batch in feed.folder(path, options, period) if batch.name != "two" or period.end > FIRST)


def test_a_batch_that_is_not_there_as_of_the_past_is_not_late_afterwards(run: Run) -> None:
    """It had been there in time: the raw tables are what they were."""
    run = with_use_case(run, sources={"folder": not_yet})
    deliver(run, "two", [payment(7, "2024-01-02T08:00")])
    for instant in (FIRST, after(1)):
        ingest(at(run, instant))
    before = contents(run.paths.raw)
    assert ["one", "two"] == sorted(path.stem for path in run.paths.raw.glob("payments/*.parquet"))
    assert {"payments": 2, "shops": 2} == ingest(at(run, FIRST))["rows"]
    assert {} == ingest(at(run, after(1)))["late"]
    assert before == contents(run.paths.raw)
    ingest(at(run, FIRST))
    (run.root / "batches" / "payments" / "two.parquet").unlink()
    assert {"payments": 2, "shops": 2} == ingest(at(run, after(2)))["rows"]
    ingest(at(run, after(1)))
    assert (run.paths.raw / "payments" / "two.parquet").exists(), "it holds until it vanished"


@pytest.mark.parametrize("renamed", [False, True])
def test_what_vanished_is_there_as_of_the_past(run: Run, renamed: bool) -> None:
    """Also if a run as of the past is the first to miss it; as of the last instant and later ones it is away, or renamed."""
    deliver(run, "two", [payment(7, "2024-01-01T08:00"), payment(8, "2024-01-03T08:00")])
    for days in (2, 3):
        ingest(at(run, after(days)))
    path = run.root / "batches" / "payments" / "two.parquet"
    path.rename(path.with_name("three.parquet")) if renamed else path.unlink()
    found = {days: late_at(at(run, after(days))) for days in (2, 4, 3, 2)}
    there = {7: after(2), 8: None}
    gone = there if renamed else {}
    expected = {2: there, 4: gone, 3: gone}
    assert expected == {days: {one: rows[one] for one in rows if one > 6} for days, rows in found.items()}


def of_the_period(path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch]:
    """The folder; its batch `one` is of the first day."""
    begins = period.start <= after(-1)
    yield from (batch for batch in feed.folder(path, options, period) if batch.name != "one" or begins)


def test_a_shorter_history_is_forgotten_by_nobody(run: Run) -> None:
    """Where history begins later for a while, what was late before is late afterwards, and nothing else."""
    run = with_use_case(run, sources={"folder": of_the_period})
    deliver(run, "two", [payment(7, "2024-01-02T08:00")])
    bring(run, after(1), {1: (3, 1.0), 2: (5, 2.0), 3: (6, 3.0)})
    before = contents(run.paths.raw)
    later = run.settings.windows.model_copy(update={"start": FIRST.date()})
    for instant in (after(1), after(2)):
        ingest(at(run.with_settings(windows=later), instant))
        assert not (run.paths.raw / "payments" / "one.parquet").exists()
        assert {"payments": {"one": 1}} == ingest(at(run, instant))["late"]
        assert before == contents(run.paths.raw)


def test_what_vanished_from_a_shorter_history_stays_in_the_past(run: Run) -> None:
    """It holds as of before, and is away afterwards; what the history does not reach any more has not vanished."""
    run = with_use_case(run, sources={"folder": of_the_period})
    two = deliver(run, "two", [payment(7, "2024-01-02T08:00")])
    deliver(run, "three", [payment(8, "2024-01-02T08:00")])
    ingest(at(run, after(1)))
    shorter = run.with_settings(windows=run.settings.windows.model_copy(update={"start": FIRST.date()}))
    ingest(at(shorter, after(2)))
    two.unlink()
    found = [ingest(at(shorter, after(days)))["rows"]["payments"] for days in (3, 4, 2, 3)]
    assert [1, 1, 2, 1] == found
    assert {1, 2} == {*held(run, after(4))}


BEFORE = payment(3, "2023-12-30T00:00")
"""From before history begins."""


@pytest.mark.parametrize("is_asked_for", [False, True])
def test_a_longer_history_is_not_late(run: Run, is_asked_for: bool) -> None:
    """What a new file holds of a time before that, or any file when history begins earlier now, counts as come in time."""
    others = [payment(1, "2024-01-01T03:00"), payment(2, "2024-01-01T05:00", 2.0)] if is_asked_for else []
    deliver(run, "one" if is_asked_for else "zero", [*others, BEFORE])
    longer = run.settings.windows.model_copy(update={"start": date(2023, 12, 30)})
    asked = run.with_settings(windows=longer) if is_asked_for else run
    assert {} == ingest(at(asked, after(1)))["late"]
    assert {1, 2, 3} == {*late_at(at(asked, FIRST))}


@pytest.mark.parametrize("name", ["one", "two"])
def test_rows_from_before_history_begins_may_be_late(run: Run, name: str) -> None:
    """In a file that was there before, or with rows that should have been there."""
    others = [payment(1, "2024-01-01T03:00"), payment(2, "2024-01-01T05:00", 2.0)]
    new = payment(4, "2024-01-01T06:00")
    deliver(run, name, [*others, BEFORE] if name == "one" else [new, BEFORE])
    late = {3: after(1)} if name == "one" else {3: after(1), 4: after(1)}
    assert {1: None, 2: None, **late} == late_at(at(run, after(1)))


def test_asking_more_often_is_not_another_source(run: Run) -> None:
    """What was delivered so far is not forgotten, and a correction that is found by it is one."""
    bring(run, after(1), {1: (3, 7.0), 2: (5, 2.0)})
    settings = run.settings.source.model_copy(update={"options": {"ask_again_days": 400}})
    often = run.with_settings(source=settings)
    report = bring(often, after(2), {1: (3, 8.0), 2: (5, 2.0)})
    corrected = {"changed": 1, "removed": 0, "added": 0, "moved": 0}
    assert corrected == report["corrected"]["payments"]["one"][after(2).isoformat()]
    assert [7.0, 8.0] == [held(often, after(days))[1]["amount"] for days in (1, 2)]


@pytest.mark.parametrize("changes", [{"history": True}, {"path": "elsewhere"}])
def test_history_and_another_source_are_never_late(run: Run, changes: dict[str, object]) -> None:
    """What a source of history holds counts as delivered in time; and what another source held says nothing of this one."""
    (run.root / "elsewhere").symlink_to(run.root / "batches")
    source = run.settings.source.model_copy(update=changes)
    report = bring(run.with_settings(source=source), after(1), {1: (3, 9.0), 3: (6, 3.0)})
    assert ({}, {}) == (report["late"], report["corrected"])
