"""Rows of which the early columns come first, and the rest later: each counts from when it was there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.partitions import files
from ratchet.use_case.columns import AVAILABLE_AT, EARLY_AVAILABLE_AT
from tests.support.coming import COMING, FIRST, RUNS, Coming, after
from tests.support.feed import INSTANT, PAYMENTS, deliver, deliver_shops, feed_project, payment
from tests.support.variants import with_table
from tests.support.windows import at

SCHEMA = PAYMENTS.append(pa.field("cleared_at", INSTANT))


def begin(root: Path) -> Run:
    """Payments that are known when they are cleared, and of which shop and amount are known at once."""
    run = with_table(feed_project(root), "payments", schema=SCHEMA, known_at="cleared_at", early=("shop", "amount"))
    deliver_shops(run)
    daily = run.settings.schedules.model_copy(update={"feature": "0 0 * * *"})
    return run.with_settings(schedules=daily)


def bring(run: Run, instant: datetime, cleared: Mapping[int, datetime | None], made: Mapping[int, datetime]) -> Report:
    """Deliver the batch with these payments, and ingest as of an instant."""
    rows = [
        {**payment(one, None), "at": made.get(one, FIRST - timedelta(hours=21)), "cleared_at": known}
        for one, known in sorted(cleared.items())
    ]
    path = deliver(run, "one", [])
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return ingest(at(run, instant))


def late(run: Run) -> dict[int, tuple[datetime | None, datetime | None]]:
    """Payment → when it came late as a whole, and when its early columns did."""
    rows = pq.read_table(run.paths.raw / "payments" / "one.parquet").to_pylist()
    return {row["id"]: (row["row_late_at"], row["row_early_late_at"]) for row in rows}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return begin(tmp_path)


def test_what_was_pending_becomes_known(run: Run) -> None:
    """That is no correction; and where it should have been known before, that counts from when it came. What was known of it
    early was there in time."""
    bring(run, FIRST, {1: after(-1), 2: None, 3: None, 4: None}, {})
    report = bring(run, after(1), {1: after(-1), 2: FIRST, 3: after(1), 4: None}, {})
    assert {} == report["corrected"]
    assert {1: (None, None), 2: (after(1), None), 3: (None, None), 4: (None, None)} == late(run)
    report = bring(run, after(2), {1: after(-1), 2: after(-1), 3: after(1), 4: None}, {})
    assert {"changed": 1, "removed": 0, "added": 0, "moved": 0} == report["corrected"]["payments"]["one"][
        after(2).isoformat()
    ]


@pytest.mark.parametrize(("amount", "changed"), [(1.0, 0), (5.0, 1)])
def test_what_was_pending_elsewhere_becomes_known(run: Run, amount: float, changed: int) -> None:
    """A file is renamed as its rows are cleared: none is changed by that, but one with another early column is."""
    bring(run, FIRST, {1: after(-1), 2: None, 3: None}, {})
    (run.root / "batches" / "payments" / "one.parquet").unlink()
    known = {1: after(-1), 2: FIRST, 3: FIRST}
    rows = [
        {**payment(one, None), "at": FIRST - timedelta(hours=21), "cleared_at": when} for one, when in known.items()
    ]
    rows[1]["amount"] = amount
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), deliver(run, "two", []))
    report = ingest(at(run, after(1)))
    expected = {"changed": changed, "removed": 0, "added": 0, "moved": 3}
    assert expected == report["corrected"]["payments"]["two"][after(1).isoformat()]


def test_what_came_late_while_it_was_pending_stays_late(run: Run) -> None:
    """Its early columns count from when it came, and not from its event on, also once the rest is known."""
    bring(run, FIRST, {1: after(-1)}, {})
    for cleared in (None, after(2)):
        bring(run, cleared or after(1), {1: after(-1), 2: cleared}, {})
        assert {1: (None, None), 2: (after(1), after(1))} == late(run)


def test_what_is_not_known_yet_may_be_late_all_the_same(run: Run) -> None:
    """It should have been there while it was pending."""
    bring(run, FIRST, {1: after(-1)}, {})
    bring(run, after(1), {1: after(-1), 2: FIRST + timedelta(hours=12)}, {})
    assert {1: (None, None), 2: (after(1), after(1))} == late(run)


@settings(max_examples=15, deadline=None)
@given(payments=st.lists(COMING, min_size=1, max_size=6).filter(lambda found: any(each.is_there(0) for each in found)))
def test_training_sees_what_each_run_saw(payments: list[Coming]) -> None:
    """After the last run, the rows that count as of each earlier one, and those of which the early columns do, are those that
    it was given."""
    with TemporaryDirectory() as folder:
        run = begin(Path(folder))
        seen: list[tuple[set[int], set[int]]] = []
        for number in range(RUNS):
            there = {one: each for one, each in enumerate(payments) if each.is_there(number)}
            cleared = {one: each.cleared_at(number) for one, each in there.items()}
            bring(run, after(number), cleared, {one: each.made_at for one, each in there.items()})
            seen.append(({one for one, known in cleared.items() if known}, {*there}))
        validate(at(run, after(RUNS - 1)))
        paths = files(run.paths.accepted / "payments")
        rows = [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]
        for number, expected in enumerate(seen):
            counts = (
                {row["id"] for row in rows if row[name] and row[name] <= after(number)}
                for name in (AVAILABLE_AT, EARLY_AVAILABLE_AT)
            )
            assert expected == tuple(counts), number
