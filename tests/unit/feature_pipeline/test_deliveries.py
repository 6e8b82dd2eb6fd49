"""Rows that come late, and batches that are delivered again: the past stays as it was seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.errors import StoreError
from ratchet.project.run import Run
from tests.support import feed
from tests.support.feed import deliver, deliver_shops, feed_project, payment
from tests.support.killing import contents, survives
from tests.support.paid import FIRST, Paid, after, begin, bring, held, take_away
from tests.support.variants import with_table, with_use_case
from tests.support.windows import at


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A source that goes on delivering, asked for the first time as of the first day's end."""
    return begin(tmp_path)


PAYMENTS = st.dictionaries(st.integers(1, 5), st.tuples(st.integers(0, 95), st.sampled_from([1.0, 2.0])), min_size=1)


SEEN = st.tuples(PAYMENTS | st.just({}), st.integers(0, 1))
"""What is delivered (nothing: the batch is not there), and how many days after the delivery before."""


@settings(max_examples=10)
@given(deliveries=st.lists(SEEN, min_size=1, max_size=5), past=st.integers(0, 4))
def test_the_past_is_what_was_seen_then(deliveries: list[tuple[Paid, int]], past: int) -> None:
    """As of each instant, the payments made by then are those that were delivered last by then, however the batch changed or
    vanished later. What was delivered before may be looked at meanwhile."""
    with TemporaryDirectory() as folder:
        run = feed_project(Path(folder))
        deliver_shops(run)
        deliver(run, "two", [payment(9, "2024-01-01T09:00")])
        days, seen = 0, dict[int, Paid]()
        for number, (paid, later) in enumerate(deliveries):
            days += later
            (bring(run, after(days), paid) if paid else take_away(run, after(days)))
            seen[days] = paid
            if number == past:
                ingest(at(run, FIRST))
        held(run, after(days))
        ending = contents(run.paths.raw)
        for day, paid in seen.items():
            expected = {
                one: amount for one, (hours, amount) in paid.items() if after(-1) + timedelta(hours=hours) <= after(day)
            }
            assert expected == {one: row["amount"] for one, row in held(run, after(day)).items()}
        held(run, after(days))
        assert ending == contents(run.paths.raw)


def test_what_should_have_been_there_is_late(run: Run) -> None:
    """From the instant on as of which it came; what was made only since is in time."""
    report = bring(run, after(1), {1: (3, 1.0), 2: (5, 2.0), 3: (6, 3.0), 4: (30, 4.0)})
    assert {"payments": {"one": 1}} == report["late"]
    assert {1: None, 2: None, 3: after(1), 4: None} == {
        one: row["row_late_at"] for one, row in held(run, after(1)).items()
    }
    assert {1, 2} == {*held(run, FIRST)}
    assert report == ingest(at(run, after(1)))


def test_a_correction_holds_from_when_it_was_delivered(run: Run) -> None:
    """For rows that were there before; the report says what it changed, and the earlier version comes back with its instant."""
    report = bring(run, after(1), {1: (3, 9.0), 3: (30, 1.0)})
    assert {
        "payments": {"one": {after(1).isoformat(): {"changed": 1, "removed": 1, "added": 1, "moved": 0}}}
    } == report["corrected"]
    assert {1: 9.0, 3: 1.0} == {one: row["amount"] for one, row in held(run, after(1)).items()}
    assert {None} == {row["row_late_at"] for row in held(run, after(1)).values()}
    assert {1: 1.0, 2: 2.0} == {one: row["amount"] for one, row in held(run, FIRST).items()}
    assert {} == ingest(at(run, FIRST))["corrected"]


def test_a_batch_that_vanished_holds_until_then(run: Run) -> None:
    """As of earlier instants it is there; not as of later ones. Less time that is asked for is no reason to miss it."""
    bring(run, after(2), {1: (3, 1.0), 2: (5, 2.0)})
    ending = contents(run.paths.raw)
    deliver(run, "two", [payment(9, "2024-01-01T09:00")])
    (run.root / "batches" / "payments" / "one.parquet").unlink()
    gone = {after(3).isoformat(): {"changed": 0, "removed": 2, "added": 0, "moved": 0}}
    for instant in (after(3), after(1), after(3)):
        corrected = ingest(at(run, instant))["corrected"]
        assert ({} if instant == after(1) else {"payments": {"one": gone}}) == corrected
        assert (instant == after(1)) == (run.paths.raw / "payments" / "one.parquet").exists()
    ingest(at(run, after(2)))
    name = "payments/one.parquet"
    assert {1, 2} == {row["id"] for row in pq.read_table(run.paths.raw / name).to_pylist()}
    assert name in ending
    ingest(at(run, after(4)))
    ingest(at(run, after(3)))
    assert not (run.paths.raw / name).exists(), "it stays away, although a run of the past had it again"
    report = bring(run, after(4), {1: (3, 1.0), 2: (5, 2.0)})
    assert {"payments": {"two": 1}} == report["late"], "the rows of the one that is back were there before"


@settings(max_examples=20, deadline=None)
@given(deliveries=st.lists(st.one_of(PAYMENTS, st.none()), min_size=1, max_size=4), data=st.data())
def test_a_delivery_that_cannot_be_read_changes_nothing(deliveries: list[Paid | None], data: st.DataObject) -> None:
    """Tables and reports are those of a source that went on having what it had before, as of every instant."""
    with TemporaryDirectory() as folder:
        broken, whole = begin(Path(folder) / "broken"), begin(Path(folder) / "whole")
        paid: Paid = {1: (3, 1.0), 2: (5, 2.0)}
        for days, delivered in enumerate(deliveries, 1):
            paid = delivered or paid
            expected = bring(whole, after(days), paid)
            if delivered is None:
                (broken.root / "batches" / "payments" / "one.parquet").write_bytes(b"half")
            found = ingest(at(broken, after(days))) if delivered is None else bring(broken, after(days), paid)
            assert bool(found.pop("rejected")) == (delivered is None)
            assert {**found, "rejected": {}} == expected
            for instant in (after(data.draw(st.integers(0, days))), after(days)):
                assert held(whole, instant) == held(broken, instant)


@pytest.mark.parametrize("back", [{1: (3, 1.0), 2: (5, 2.0)}, {1: (3, 9.0), 3: (6, 3.0)}])
def test_a_batch_that_is_back_was_away_before(run: Run, back: Paid) -> None:
    """As of the instants between, it is not there, although a run of the past finds it again first. Its rows have moved from
    its earlier version, and the report says which of them are others."""
    deliver(run, "two", [payment(9, "2024-01-01T09:00")])
    for instant in (after(1), after(2)):
        take_away(run, instant)
    bring(run, FIRST, back)
    assert {1: 1.0, 2: 2.0} == {one: row["amount"] for one, row in held(run, FIRST).items()}
    report = bring(run, after(3), back)
    changed, moved = (0, 2) if 2 in back else (1, 1)
    found = {"changed": changed, "removed": 0, "added": 2 - moved, "moved": moved}
    assert found == report["corrected"]["payments"]["one"][after(3).isoformat()]
    expected = [{1: 1.0, 2: 2.0}, {}, {}, {one: amount for one, (_, amount) in back.items()}]
    assert expected == [
        {one: row["amount"] for one, row in held(run, after(days)).items()} for days in range(len(expected))
    ]


@pytest.mark.parametrize("step", [validate, featurize])
@pytest.mark.parametrize("days", [0, 2])
def test_later_steps_want_the_raw_rows_of_their_instant(run: Run, step: Callable[[Run], Any], days: int) -> None:
    """Whoever moves the instant after ingest lets ingest run again first: rows could be missing, or there too early."""
    ingest(at(run, after(2)))
    validate(at(run, after(2)))
    ingest(at(run, after(1)))
    with pytest.raises(StoreError, match="raw rows"):
        step(at(run, after(days)))


def test_a_later_correction_as_of_the_same_instant_leaves_the_past(run: Run) -> None:
    """As of before, neither the first nor the second holds; the report says what both changed together."""
    bring(run, after(1), {1: (3, 7.0), 2: (5, 2.0)})
    report = bring(run, after(1), {1: (3, 8.0), 2: (5, 9.0)})
    assert {"changed": 2, "removed": 0, "added": 0, "moved": 0} == report["corrected"]["payments"]["one"][
        after(1).isoformat()
    ]
    assert {1: 1.0, 2: 2.0} == {one: row["amount"] for one, row in held(run, FIRST).items()}
    assert {1: 8.0, 2: 9.0} == {one: row["amount"] for one, row in held(run, after(1)).items()}


def test_what_is_new_as_of_an_earlier_instant_counts_from_the_latest(run: Run) -> None:
    """It was not there when ingest last asked."""
    bring(run, after(2), {1: (3, 1.0), 2: (5, 2.0)})
    bring(run, FIRST, {1: (3, 1.0), 2: (5, 2.0), 3: (6, 3.0)})
    assert {1, 2} == {*held(run, after(1))}
    assert {1, 2, 3} == {*held(run, after(2))}


def prepare(root: Path) -> None:
    """What stands before the work that is killed everywhere."""
    run = begin(root)
    away = deliver(run, "two", [payment(7, "2024-01-01T08:00")])
    bring(run, after(1), {1: (3, 9.0), 3: (6, 3.0)})
    away.unlink()
    ingest(at(run, after(2)))


def work(root: Path) -> None:
    """A correction, and a batch that is back."""
    run = feed_project(root)
    deliver(run, "two", [payment(7, "2024-01-01T08:00"), payment(8, "2024-01-01T08:00")])
    bring(run, after(3), {1: (3, 8.0), 4: (6, 3.0)})


def test_may_be_killed_anywhere(tmp_path: Path) -> None:
    """After a kill at any write, a rerun leaves the bytes of an undisturbed run."""
    assert survives(__name__, tmp_path) > 5


def test_a_new_column_forgets_no_correction(run: Run) -> None:
    """What an earlier version held, holds as of its time, without the column."""
    bring(run, after(1), {1: (3, 9.0), 2: (5, 2.0)})
    bring(run, after(2), {1: (3, 8.0), 2: (5, 2.0)})
    wider = with_table(run, "payments", schema=feed.PAYMENTS.append(pa.field("tip", pa.float64())))
    path = run.root / "batches" / "payments" / "one.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.append_column("tip", pa.array([0.5] * rows.num_rows)), path)
    ingest(at(wider, after(3)))
    assert [(9.0, None), (8.0, None), (8.0, 0.5)] == [
        (row["amount"], row["tip"]) for row in (held(wider, after(days))[1] for days in (1, 2, 3))
    ]


def test_a_table_may_be_declared_otherwise(run: Run) -> None:
    """With a column more, another type, or without a table that had versions: batches are read anew. What is known of late rows
    stays, as long as key and times are the same."""
    bring(run, after(1), {1: (3, 9.0), 2: (5, 2.0), 3: (6, 3.0)})

    def ingest_as(schema: pa.Schema) -> dict[int, datetime | None]:
        changed = with_table(run, "payments", schema=schema)
        path = run.root / "batches" / "payments" / "one.parquet"
        rows = pq.read_table(path).to_pylist()
        pq.write_table(pa.Table.from_pylist([{**row, "amount": str(row["amount"])} for row in rows], schema), path)
        ingest(at(changed, after(1)))
        found = pq.read_table(run.paths.raw / "payments" / "one.parquet").to_pylist()
        return {row["id"]: row["row_late_at"] for row in found}

    text = feed.PAYMENTS.set(3, pa.field("amount", pa.string()))
    assert {1: None, 2: None, 3: after(1)} == ingest_as(text)
    assert {1: None, 2: None, 3: after(1)} == ingest_as(text.append(pa.field("tip", pa.string())))
    only_shops = with_use_case(run, tables=run.use_case.tables[1:])
    shutil.rmtree(run.root / "batches" / "payments")
    assert {"shops": 2} == ingest(at(only_shops, after(1)))["rows"]
