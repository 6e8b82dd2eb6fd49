"""Rows that come late, and batches that are delivered again: the past stays as it was seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
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
from ratchet.core.clock import Period
from ratchet.core.errors import StoreError
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.use_case.batch import Batch
from tests.support import feed
from tests.support.feed import deliver, deliver_shops, feed_project, payment
from tests.support.killing import contents, survives
from tests.support.variants import with_table, with_use_case
from tests.support.windows import at

FIRST = datetime(2024, 1, 2, tzinfo=UTC)
Paid = dict[int, tuple[int, float]]
"""Payment → hours after the first day began, and amount."""


def after(days: int) -> datetime:
    return FIRST + timedelta(days=days)


def bring(run: Run, instant: datetime, paid: Paid) -> Report:
    """Deliver the batch with these payments, and ingest as of an instant."""
    rows = [payment(one, f"2024-01-01T{hours % 24:02}:00", amount) for one, (hours, amount) in sorted(paid.items())]
    for row, (hours, _) in zip(rows, (paid[one] for one in sorted(paid)), strict=True):
        row["at"] = after(-1) + timedelta(hours=hours)
    deliver(run, "one", rows)
    return ingest(at(run, instant))


def take_away(run: Run, instant: datetime) -> Report:
    """Remove the batch, if it is there, and ingest as of an instant."""
    (run.root / "batches" / "payments" / "one.parquet").unlink(missing_ok=True)
    return ingest(at(run, instant))


def held(run: Run, instant: datetime) -> dict[int, dict[str, Any]]:
    """The payments that had been made and had arrived as of an instant."""
    ingest(at(run, instant))
    path = run.paths.raw / "payments" / "one.parquet"
    rows = pq.read_table(path).to_pylist() if path.exists() else []
    return {row["id"]: row for row in rows if row["at"] <= instant and (row["row_late_at"] or row["at"]) <= instant}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A source that goes on delivering, asked for the first time as of the first day's end."""
    return begin(tmp_path)


def begin(root: Path) -> Run:
    run = feed_project(root)
    deliver_shops(run)
    bring(run, FIRST, {1: (3, 1.0), 2: (5, 2.0)})
    return run


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


@pytest.mark.parametrize("into", ["two", "zero", "[o]*"])
def test_rows_that_are_in_another_batch_now_are_not_late(run: Run, into: str) -> None:
    """A file may be renamed, or merged with another, with a correction; a new row counts from now on. As of before, the rows
    are where they were, as they were."""
    if into == "two":
        deliver(run, "two", [payment(9, "2024-01-01T09:00")])
        ingest(at(run, FIRST))
    (run.root / "batches" / "payments" / "one.parquet").unlink()
    kept = [payment(9, "2024-01-01T09:00")] if into == "two" else []
    moved = [payment(1, "2024-01-01T03:00", 7.0), payment(2, "2024-01-01T05:00", 2.0), payment(3, "2024-01-01T06:00")]
    deliver(run, into, [*kept, *moved])
    for days in (1, 2, 0, 1):
        ingest(at(run, after(days)))
        paths = {path.stem: path for path in (run.paths.raw / "payments").glob("*.parquet")}
        assert ({into} if days else {"one", *(["two"] if kept else [])}) == {*paths}
        rows = [row for path in paths.values() for row in pq.read_table(path).to_pylist() if row["id"] != 9]
        found = {row["id"]: (row["amount"], row["row_late_at"]) for row in rows}
        expected = {1: (7.0, None), 2: (2.0, None), 3: (1.0, after(1))} if days else {1: (1.0, None), 2: (2.0, None)}
        assert expected == found


@pytest.mark.parametrize("to", ["two", "zero"])
def test_rows_that_a_file_gave_to_another_are_not_late(run: Run, to: str) -> None:
    """A file is split, and the old name stays, with fewer rows; whichever of them is read first."""
    deliver(run, "one", [payment(1, "2024-01-01T03:00")])
    deliver(run, to, [payment(2, "2024-01-01T05:00", 2.0), payment(3, "2024-01-01T06:00")])
    for days in (1, 2, 0, 1):
        ingest(at(run, after(days)))
        rows = [
            row for path in (run.paths.raw / "payments").glob("*.parquet") for row in pq.read_table(path).to_pylist()
        ]
        found = {row["id"]: row["row_late_at"] for row in rows}
        assert ({1: None, 2: None, 3: after(1)} if days else {1: None, 2: None}) == found


def corrections(run: Run, instant: datetime) -> dict[str, dict[str, int]]:
    """Batch of payments → what the report says of its delivery as of an instant."""
    found = ingest(at(run, instant))["corrected"].get("payments", {})
    return {name: instants[instant.isoformat()] for name, instants in found.items() if instant.isoformat() in instants}


def counts(changed: int = 0, removed: int = 0, added: int = 0, moved: int = 0) -> dict[str, int]:
    return {"changed": changed, "removed": removed, "added": added, "moved": moved}


ONE, TWO = payment(1, "2024-01-01T03:00"), payment(2, "2024-01-01T05:00", 2.0)
"""The payments that are delivered first."""
LARGER, NEW = {**TWO, "amount": 7.0}, payment(3, "2024-01-01T06:00")


@pytest.mark.parametrize("into", ["two", "zero"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [([ONE, TWO], counts(moved=2)), ([ONE, LARGER, NEW], counts(moved=2, changed=1, added=1))],
)
def test_a_report_tells_a_rename_from_a_correction(
    run: Run, into: str, rows: list[dict[str, Any]], expected: dict[str, int]
) -> None:
    """Of the rows that were elsewhere it says how many are others now; what is asked again says the same."""
    (run.root / "batches" / "payments" / "one.parquet").unlink()
    deliver(run, into, rows)
    for _ in range(2):
        assert {"one": counts(removed=2), into: expected} == corrections(run, after(1))


@pytest.mark.parametrize("into", ["two", "zero"])
def test_a_report_tells_a_split_from_a_correction(run: Run, into: str) -> None:
    """Whichever of the files is read first; what is new and in time is added, and has not moved."""
    deliver(run, "one", [ONE])
    deliver(run, into, [LARGER, NEW, payment(4, "2024-01-02T08:00")])
    assert {"one": counts(removed=1), into: counts(moved=1, changed=1, added=2)} == corrections(run, after(1))


def test_rows_move_to_a_batch_that_is_corrected(run: Run) -> None:
    """It has changes of its own, and takes all rows of a file that is away now, one of them in time."""
    late, in_time = payment(7, "2024-01-01T09:00"), payment(8, "2024-01-02T08:00")
    deliver(run, "two", [late, in_time])
    assert {} == corrections(run, FIRST)
    (run.root / "batches" / "payments" / "two.parquet").unlink()
    deliver(run, "one", [ONE, LARGER, NEW, late, {**in_time, "amount": 5.0}])
    assert {"one": counts(changed=2, moved=2, added=1), "two": counts(removed=2)} == corrections(run, after(1))


def test_a_key_that_is_in_a_file_twice_moves_twice(run: Run) -> None:
    """Renaming the file adds nothing."""
    deliver(run, "two", [payment(7, "2024-01-01T09:00"), payment(7, "2024-01-01T09:00", 2.0)])
    ingest(at(run, after(1)))
    path = run.root / "batches" / "payments" / "two.parquet"
    path.rename(path.with_name("three.parquet"))
    assert {"two": counts(removed=2), "three": counts(moved=2)} == corrections(run, after(2))


def test_a_row_that_moved_is_compared_with_what_it_was_last(run: Run) -> None:
    """It was corrected, cut off for a while, and comes again in another file, as it was first; then that file has another name
    and a correction."""
    deliver(run, "one", [ONE, LARGER])
    assert {"one": counts(changed=1)} == corrections(run, after(1))
    deliver(run, "one", [ONE])
    assert {"one": counts(removed=1)} == corrections(run, after(2))
    deliver(run, "two", [TWO])
    assert {"two": counts(moved=1, changed=1)} == corrections(run, after(3))
    path = run.root / "batches" / "payments" / "two.parquet"
    path.rename(path.with_name("three.parquet"))
    assert {"two": counts(removed=1), "three": counts(moved=1)} == corrections(run, after(4))


@pytest.mark.parametrize("step", [validate, featurize])
@pytest.mark.parametrize("days", [0, 2])
def test_later_steps_want_the_raw_rows_of_their_instant(run: Run, step: Callable[[Run], Any], days: int) -> None:
    """Whoever moves the instant after ingest lets ingest run again first: rows could be missing, or there too early."""
    ingest(at(run, after(2)))
    validate(at(run, after(2)))
    ingest(at(run, after(1)))
    with pytest.raises(StoreError, match="raw rows"):
        step(at(run, after(days)))


@pytest.mark.parametrize("into", ["one", "two"])
def test_rows_that_were_cut_off_for_a_while_are_not_late(run: Run, into: str) -> None:
    """A file is cut, also more than once, and is whole again, or the rest comes in another file: it was there before."""
    deliver(run, "one", [payment(1, "2024-01-01T03:00"), payment(2, "2024-01-01T05:00")])
    ingest(at(run, after(0)))
    for days in (1, 2):
        deliver(run, "one", [payment(1, "2024-01-01T03:00", float(days))])
        ingest(at(run, after(days)))
    rest = [payment(2, "2024-01-01T05:00"), payment(3, "2024-01-01T06:00")]
    deliver(run, into, rest if into == "two" else [payment(1, "2024-01-01T03:00", 2.0), *rest])
    found = {days: late_at(at(run, after(days))) for days in (3, 2, 1, 0, 3)}
    whole = {1: None, 2: None, 3: after(3)}
    assert {3: whole, 2: {1: None}, 1: {1: None}, 0: {1: None, 2: None}} == found


def late_at(run: Run) -> dict[int, datetime | None]:
    """Payment → when it came late, in the raw rows as of the run's instant."""
    report = ingest(run)
    assert report["delivered"] == report["rows"]
    paths = (run.paths.raw / "payments").glob("*.parquet")
    return {row["id"]: row["row_late_at"] for path in paths for row in pq.read_table(path).to_pylist()}


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


def test_a_row_may_go_to_another_batch_with_another_time(run: Run) -> None:
    """The correction holds from now on, and does not make it late."""
    deliver(run, "one", [payment(1, "2024-01-01T03:00")])
    deliver(run, "two", [payment(2, "2023-12-30T05:00", 7.0), payment(3, "2024-01-01T05:00")])
    assert {1: None, 2: None, 3: after(1)} == late_at(at(run, after(1)))
    assert {1: 1.0, 2: 2.0} == {one: row["amount"] for one, row in held(run, FIRST).items()}


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
