"""What is remembered of another system's files: enough to say whether the same rows are still there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.core.errors import SourceError, StoreError
from ratchet.features import upstream_registration
from ratchet.features.upstream_registration import Register
from ratchet.project.run import Run
from ratchet.storage.digests import md5
from tests.support.killing import survives
from tests.support.scored import LAG, START, Row, declared_with, score, scored_project, write_scores

HOUR = timedelta(hours=1)
T = START + 9 * HOUR
LATER = T + HOUR
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
ROWS = [score(patient, START + patient * HOUR, START + patient * HOUR) for patient in range(5)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A project in which the rows of a file are registered as of T."""
    run = scored_project(tmp_path)
    write_scores(run, ROWS)
    Register.open(run).write(T)
    return run


def registered(run: Run, at: datetime) -> dict[str, Any]:
    """What featurize reports when it registers the present files."""
    found = Register.open(run).write(at)["scores"].summary
    Register.open(run).require()
    return found


def test_files_are_named_with_their_content(run: Run) -> None:
    """Those of the checkout by their path in it, so that a checkout may be moved."""
    found = Register.open(run).read()["scores"]
    path = run.root / "scores" / "part.parquet"
    assert ({"scores/part.parquet": md5(path)}, 5, T) == (found.files, found.rows, found.as_of)


def test_files_elsewhere_are_named_by_their_whole_path(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_scores(run, ROWS).rename(tmp_path_factory.mktemp("elsewhere") / "theirs.parquet")
    moved = run.with_settings(upstream={"scores": str(path)})
    before = Register.open(run).read()["scores"]
    Register.open(moved).require()
    assert ({str(path): md5(path)}, before.digest) == (
        (found := Register.open(moved).write(LATER)["scores"]).files,
        found.digest,
    )
    assert () == found.restated


ADDED = score(9, START, T - LAG)
"""A row that arrives exactly at T, which no run as of T knows."""


@pytest.mark.parametrize(
    "change",
    [
        lambda run: write_scores(run, [*ROWS, ADDED]),
        lambda run: write_scores(run, [ADDED], "more.parquet"),
        lambda run: write_scores(run, [*reversed(ROWS)]),
        lambda run: write_scores(run, ROWS[1:3], "again.parquet"),
        lambda run: write_scores(run, ROWS, "compacted.parquet") and (run.root / "scores/part.parquet").unlink(),
    ],
    ids=["a row is added", "a file is added", "another order", "a row is there twice", "another file"],
)
def test_what_changes_no_row_that_was_known_is_no_restatement(run: Run, change: Callable[[Run], object]) -> None:
    """Nothing is refused, and later steps see no difference."""
    before = Register.open(run).read()["scores"].summary
    change(run)
    Register.open(run).require()
    assert before == registered(run, T)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([*ROWS[:4], {**ROWS[4], "risk": 0.25}], 5),
        ([*ROWS[:4], {**ROWS[4], "tier": None}], 5),
        ([*ROWS[:4], {**ROWS[4], "written_at": START}], 5),
        (ROWS[1:], 4),
        ([*ROWS, score(9, START, T - LAG - timedelta(microseconds=1))], 6),
    ],
    ids=["a value", "a null", "a time", "a row less", "a row more"],
)
def test_a_restatement_is_refused_until_it_is_recorded(run: Run, rows: list[Row], count: int) -> None:
    """Then it is reported by the run that found it, and remembered."""
    write_scores(run, rows)
    with pytest.raises(StoreError, match="scores") as error:
        Register.open(run).require()
    assert str(run.root / "scores") == error.value.subject
    (restated,) = registered(run, LATER)["restated"]
    assert (5, count) == (restated["rows_then"], restated["rows_now"])
    assert [restated] == registered(run, LATER)["restated"]
    assert [] == registered(run, LATER + HOUR)["restated"]
    (remembered,) = Register.open(run).read()["scores"].restated
    assert (T, LATER) == (remembered.as_of, remembered.found_at)


def test_other_columns_or_times_are_no_restatement(run: Run) -> None:
    """But what is registered proves nothing about them."""
    other = declared_with(run, lag=timedelta(hours=2))
    with pytest.raises(StoreError, match="scores"):
        Register.open(other).require()
    assert [] == registered(other, LATER)["restated"]


def test_another_schedule_is_seen_by_later_steps(run: Run) -> None:
    """Rows count from other times, though they are the same."""
    schedules = run.settings.schedules.model_copy(update={"feature": "0 0 * * *"})
    assert registered(run, T) != registered(run.with_settings(schedules=schedules), T)


def test_nothing_is_written_without_such_a_view(run: Run) -> None:
    """And what was written of views that are gone is removed."""
    path = run.paths.features / "upstream.json"
    assert path.exists()
    Register({}, run.paths.features, run.root, run.environment).write(LATER)
    assert not path.exists()


def test_what_was_never_registered_is_not_used(tmp_path: Path) -> None:
    run = scored_project(tmp_path)
    write_scores(run, ROWS)
    with pytest.raises(StoreError, match="scores"):
        Register.open(run).require()


def test_files_that_are_gone_are_named(run: Run) -> None:
    (run.root / "scores/part.parquet").unlink()
    with pytest.raises(SourceError, match="scores"):
        Register.open(run).require()


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"patient": None}, "patient"),
        ({"event_timestamp": None}, "event_timestamp"),
        ({"event_timestamp": datetime(1970, 1, 1, tzinfo=UTC)}, "event_timestamp"),
        ({"written_at": None}, "written_at"),
        ({"written_at": FUTURE}, "written_at"),
    ],
)
def test_a_row_that_cannot_be_used_stops_it(run: Run, row: Row, named: str) -> None:
    """With its file and column; what was registered stays."""
    before = Register.open(run).read()
    path = write_scores(run, [{**ROWS[0], **row}], "bad.parquet")
    with pytest.raises(SourceError, match=f"'{named}' in 1 row") as error:
        Register.open(run).write(LATER)
    assert str(path) == error.value.subject
    assert before == Register.open(run).read()


def test_two_values_at_the_same_times_stop_it(run: Run) -> None:
    """Nothing says which of them holds."""
    write_scores(run, [{**ROWS[0], "risk": 0.75}], "again.parquet")
    with pytest.raises(SourceError, match="p0"):
        Register.open(run).write(LATER)


def test_a_file_that_changes_meanwhile_stops_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content and the digest of its rows would not belong together."""
    digests = upstream_registration.file_digests

    def slow(files: list[Path], root: Path) -> dict[str, str]:
        write_scores(run, [ADDED], "meanwhile.parquet")
        return digests(files, root)

    monkeypatch.setattr(upstream_registration, "file_digests", slow)
    with pytest.raises(SourceError, match="while"):
        Register.open(run).write(LATER)


def prepare(root: Path) -> None:
    """What stands before the work that is killed everywhere: a file that was restated since it was registered."""
    run = scored_project(root)
    write_scores(run, ROWS)
    Register.open(run).write(T)
    write_scores(run, ROWS[1:])


def work(root: Path) -> None:
    Register.open(scored_project(root)).write(LATER)


def test_killed_anywhere_it_ends_right_when_run_again(tmp_path: Path) -> None:
    """The restatement is recorded once."""
    assert survives("tests.integration.ratchet.features.test_upstream_registration", tmp_path) > 0


TIMES = st.integers(0, 12).map(lambda hours: START + hours * HOUR)
DRAWN = st.lists(
    st.builds(score, st.integers(0, 2), TIMES, TIMES, risk=st.none() | st.floats(-1, 1), tier=st.text(max_size=1)),
    unique_by=lambda row: (row["patient"], row["event_timestamp"], row["written_at"]),
    min_size=1,
    max_size=5,
)


@settings(max_examples=12, deadline=None)
@given(first=DRAWN, second=DRAWN)
def test_a_digest_is_that_of_the_rows_that_were_known(first: list[Row], second: list[Row]) -> None:
    """Two files have the same one exactly if the same rows arrived before the instant."""
    with TemporaryDirectory() as folder:
        run = scored_project(Path(folder))
        contents = []
        for rows in (first, second):
            write_scores(run, rows)
            contents.append(Register.open(run).write(T)["scores"].digest)
    known = [{tuple(row.items()) for row in rows if row["written_at"] + LAG < T} for rows in (first, second)]
    assert (known[0] == known[1]) == (contents[0] == contents[1])
