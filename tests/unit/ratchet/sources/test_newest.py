"""How far a source is completely delivered: by what its readable batches say, or by their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_pipeline.ingest import ingest
from ratchet.core.clock import FixedClock, Period
from ratchet.core.errors import SourceError, SourceUnavailableError
from ratchet.project.data_status import data_status
from ratchet.project.run import Run
from ratchet.project.step_reports import run_step
from ratchet.sources.newest import declared_newest, newest
from ratchet.use_case.batch import Batch
from tests.support.feed import deliver, deliver_shops, feed_project, folder, payment
from tests.support.variants import with_use_case

FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)


def january(day: int) -> datetime:
    return datetime(2024, 1, day, tzinfo=UTC)


def daily(path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch]:
    """The folder, in which a batch of payments is named after its day."""
    for batch in folder(path, options, period):
        yield replace(batch, complete_until=january(int(batch.name) + 1)) if batch.table == "payments" else batch


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Payments of two days."""
    run = with_use_case(feed_project(tmp_path), sources={"folder": daily})
    deliver_shops(run)
    for day in (1, 2):
        deliver(run, str(day), [payment(day, f"2024-01-0{day}T10:00")])
    return run


def break_second(run: Run) -> None:
    (run.root / "batches" / "payments" / "2.parquet").write_bytes(b"half")


def test_a_batch_that_cannot_be_read_completes_nothing(run: Run) -> None:
    """Whether ingest has seen it or not; once it is delivered again, it counts."""
    assert january(3) == newest(run)
    break_second(run)
    assert january(2) == newest(run)
    ingest(run)
    assert (january(2), january(2)) == (newest(run), declared_newest(run))
    deliver(run, "2", [payment(2, "2024-01-02T10:00")])
    assert (january(3), january(3)) == (newest(run), declared_newest(run))


def test_a_table_of_which_no_batch_can_be_read_is_an_error(run: Run) -> None:
    """However far the other tables are. With one batch less, that one decides."""
    (run.root / "batches" / "payments" / "1.parquet").unlink()
    break_second(run)

    def both(path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch]:
        yield from (
            replace(batch, complete_until=batch.complete_until or january(9)) for batch in daily(path, options, period)
        )

    two = with_use_case(run, sources={"folder": both})
    with pytest.raises(SourceError, match=r"2\.parquet"):
        newest(two)
    deliver(run, "1", [payment(1, "2024-01-01T10:00")])
    assert january(2) == newest(two)


def test_a_rejected_batch_is_due(run: Run) -> None:
    """`ratchet status` names it until it is delivered again."""
    break_second(run)
    run_step(run, "ingest", ingest)
    (due,) = (line for line in data_status(run)["due"] if "payments/2" in line)
    assert "Fetch it again" in due, "and says what to do"
    deliver(run, "2", [payment(2, "2024-01-02T10:00")])
    run_step(run, "ingest", ingest)
    assert not any("payments/2" in line for line in data_status(run)["due"])


def test_what_ingest_has_read_is_not_read_again(run: Run) -> None:
    """Its digest is known."""
    ingest(run)

    def silent(path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch]:
        yield from (replace(batch, read=fail) for batch in daily(path, options, period))

    assert january(3) == newest(with_use_case(run, sources={"folder": silent}))


def fail() -> Any:
    raise SourceUnavailableError("does not answer", subject="feed", remedy="Wait")


def test_a_source_that_does_not_answer_is_an_error(run: Run) -> None:
    """Its batch may well be complete."""

    def silent(path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch]:
        yield from (replace(batch, read=fail) for batch in daily(path, options, period))

    with pytest.raises(SourceUnavailableError):
        newest(with_use_case(run, sources={"folder": silent}))


def test_without_a_word_the_rows_tell(run: Run) -> None:
    """Those of batches that can be read. If there are none, the error is that of a batch."""
    undeclared = with_use_case(run, sources={"folder": folder})
    assert (january(3), None) == (newest(undeclared), declared_newest(undeclared))
    break_second(run)
    assert january(2) == newest(undeclared)
    (run.root / "batches" / "payments" / "1.parquet").unlink()
    with pytest.raises(SourceError, match=r"2\.parquet: .*Parquet"):
        newest(undeclared)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([*range(1, 401), 409], 410),
        ([*range(1, 401), 440], 401),
        ([*range(1, 401), 440, 440, 441], 442),
        ([*range(1, 401), 440, 500], 401),
        ([*range(1, 100), 200], 201),
        ([*range(1, 9_000, 30), 9_200], 9_201),
        ([1], 2),
    ],
)
def test_a_few_rows_with_a_mistaken_date_do_not_count(tmp_path: Path, days: list[int], expected: int) -> None:
    """Those are few, and later than the others by far more than is usual between two days."""
    run = with_use_case(feed_project(tmp_path), sources={"folder": folder})
    run = replace(run, clock=FixedClock(FIRST_DAY + timedelta(days=10_000)))
    deliver_shops(run)
    deliver(run, "1", [{**payment(one, None), "at": FIRST_DAY + timedelta(days=day)} for one, day in enumerate(days)])
    assert FIRST_DAY + timedelta(days=expected) == newest(run)


@pytest.mark.parametrize(("strays", "expected"), [(1, 31), (17, 31), (25, 401)])
def test_files_of_a_day_each_are_seen_together(tmp_path: Path, strays: int, expected: int) -> None:
    """A mistaken date is one however few rows its file has. Where a tenth of a usual day is there, the source goes on."""
    run = with_use_case(feed_project(tmp_path), sources={"folder": folder})
    run = replace(run, clock=FixedClock(FIRST_DAY + timedelta(days=10_000)))
    deliver_shops(run)
    for day in range(1, 31):
        moments = [*[day] * 170, *[400 if day == 15 else day] * strays]
        rows = [
            {**payment(1000 * day + one, None), "at": FIRST_DAY + timedelta(days=each)}
            for one, each in enumerate(moments)
        ]
        deliver(run, str(day), rows)
    assert FIRST_DAY + timedelta(days=expected) == newest(run)
