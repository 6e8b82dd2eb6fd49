"""Rows that another file holds now, or that were cut off for a while: they are not late, and are told from corrections."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feature_pipeline.ingest import ingest
from ratchet.project.run import Run
from tests.support.feed import deliver, payment
from tests.support.paid import FIRST, after, begin, held, late_at
from tests.support.windows import at


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A source that goes on delivering, asked for the first time as of the first day's end."""
    return begin(tmp_path)


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


def test_a_row_may_go_to_another_batch_with_another_time(run: Run) -> None:
    """The correction holds from now on, and does not make it late."""
    deliver(run, "one", [payment(1, "2024-01-01T03:00")])
    deliver(run, "two", [payment(2, "2023-12-30T05:00", 7.0), payment(3, "2024-01-01T05:00")])
    assert {1: None, 2: None, 3: after(1)} == late_at(at(run, after(1)))
    assert {1: 1.0, 2: 2.0} == {one: row["amount"] for one, row in held(run, FIRST).items()}


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
