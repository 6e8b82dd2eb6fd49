"""What is predicted can be read back as it was, found by its id, and survives a process that dies while it writes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ratchet.core.clock import Period
from ratchet.core.errors import DataError, StoreError
from ratchet.model_registry.champion import Champion
from ratchet.prediction_log import schema as prediction_schema
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.online_log import OnlineLog, line_of
from ratchet.project.run import Run
from ratchet.storage.partitions import write_table
from ratchet.use_case.contract import Array
from tests.support.champions import joined_columns, noshow_champion
from tests.support.runs import noshow_project

NOW = datetime(2024, 7, 20, 9, 30, 0, 123456, tzinfo=UTC)
SCORER = "a0b1c2d3e4f5"
TODAY = Period(NOW - timedelta(hours=1), NOW + timedelta(hours=1))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path)


@pytest.fixture
def champion(run: Run) -> Champion:
    return noshow_champion(run)


def online_rows(run: Run, champion: Champion, columns: dict[str, Array], at: datetime = NOW) -> pa.Table:
    rows = len(columns["event_timestamp"])
    return prediction_schema.log_entries(
        prediction_schema.log_schema(run.use_case),
        champion,
        columns,
        champion.model.predict(columns),
        ids=prediction_schema.online_ids(at, rows),
        times=np.full(rows, np.datetime64(at.replace(tzinfo=None), "us")),
        scorer=SCORER,
    )


def lines_of(rows: pa.Table) -> bytes:
    return b"".join(map(line_of, rows.to_pylist()))


def batch_rows(run: Run, champion: Champion, columns: dict[str, Array]) -> pa.Table:
    return prediction_schema.log_entries(
        prediction_schema.log_schema(run.use_case),
        champion,
        columns,
        champion.model.predict(columns),
        ids=prediction_schema.batch_ids(SCORER, columns),
        times=columns["event_timestamp"],
        scorer=SCORER,
    )


def test_the_schema_is_fixed(run: Run) -> None:
    """Every use case's log has the same columns; the fields of the structs are its own."""
    schema = prediction_schema.log_schema(run.use_case)
    assert [
        "prediction_id",
        "time",
        "request_id",
        "model_name",
        "model_version",
        "model_digest",
        "feature_service",
        "scorer",
        "keys",
        "request",
        "features",
        "feature_timestamps",
        "absences",
        "prediction",
        "arm",
        "rung",
        "vector",
    ] == schema.names
    assert ["patient"] == [field.name for field in schema.field("keys").type]
    assert ["patient_history"] == [field.name for field in schema.field("feature_timestamps").type]


def test_what_was_served_comes_back_bit_for_bit(run: Run, champion: Champion) -> None:
    """The log holds all that the model was given: the same columns go in and come out, absent values included."""
    columns = joined_columns()
    OnlineLog(run.paths.online_log).append(lines_of(online_rows(run, champion, columns)), NOW.date())
    log = PredictionLog.open(run).read(TODAY)
    order = np.argsort(log.column("request_id").to_numpy(zero_copy_only=False))
    inputs = [*champion.model.contract.inputs]
    served = prediction_schema.served(run.use_case, inputs, log)
    for name in [*inputs, "event_timestamp"]:
        np.testing.assert_array_equal(columns[name], served[name][order])
    np.testing.assert_array_equal(champion.model.predict(columns), served["prediction"][order])


def test_a_very_long_value_does_not_make_the_log_unreadable(run: Run, champion: Champion) -> None:
    """As long as a body may be: it comes back whole, and so do the rows around it."""
    columns = joined_columns(3)
    columns["patient"][1] = "é" * 500_000
    OnlineLog(run.paths.online_log).append(lines_of(online_rows(run, champion, columns)), NOW.date())
    keys = PredictionLog.open(run).read(TODAY).column("keys").to_pylist()
    assert set(columns["patient"]) == {row["patient"] for row in keys}


def test_both_halves_are_read_as_one(run: Run, champion: Champion) -> None:
    """Batch and online rows of a period come together, by time; those outside it stay out."""
    batch = batch_rows(run, champion, joined_columns(100, start=NOW - timedelta(hours=3)))
    write_table(run.paths.predictions / f"date={NOW.date()}" / "part.parquet", batch)
    OnlineLog(run.paths.online_log).append(lines_of(online_rows(run, champion, joined_columns(2))), NOW.date())
    found = PredictionLog.open(run).read(TODAY)
    assert 6 + 2 == found.num_rows
    assert found.column("time").to_pylist() == sorted(found.column("time").to_pylist())


def test_a_batch_id_follows_from_scorer_request_and_date() -> None:
    """The same model and code give the same request the same id; others another one."""
    columns = joined_columns(50)
    ids = prediction_schema.batch_ids("digest", columns)
    assert ids == prediction_schema.batch_ids("digest", columns)
    assert 50 == len(set(ids) - set(prediction_schema.batch_ids("another", columns)))
    assert all(name.startswith("2024-01-01-b") for name in ids)


def test_an_id_finds_its_row_in_either_half(run: Run, champion: Champion) -> None:
    """An id leads to the row as it was written, instants as text."""
    columns = joined_columns(20, start=NOW)
    online, batch = online_rows(run, champion, columns), batch_rows(run, champion, columns)
    OnlineLog(run.paths.online_log).append(lines_of(online), NOW.date())
    write_table(run.paths.predictions / f"date={NOW.date()}" / "part.parquet", batch)
    for rows in (online, batch):
        wanted = rows.slice(7, 1).to_pylist()[0]
        found = PredictionLog.open(run).find(wanted["prediction_id"])
        assert (wanted["prediction"], wanted["time"].isoformat()) == (found["prediction"], found["time"])
        assert wanted["keys"] == found["keys"]


@pytest.mark.parametrize("prediction_id", ["", "nonsense", "2024-07-20-x00", "2024-13-41-o00", "../../etc/passwd"])
def test_what_is_no_id_is_said_to_be_none(run: Run, prediction_id: str) -> None:
    """Text of another shape is refused before any file is looked at."""
    with pytest.raises(StoreError, match="not an id"):
        PredictionLog.open(run).find(prediction_id)


def test_an_unknown_id_is_an_error(run: Run) -> None:
    """An id that nobody gave is not in the log."""
    with pytest.raises(StoreError, match="not in the prediction log"):
        PredictionLog.open(run).find("2024-07-20-o00")


def test_the_last_line_of_a_killed_process_is_left_out(run: Run, champion: Champion) -> None:
    """A torn line was never answered for: the whole ones before it are read."""
    OnlineLog(run.paths.online_log).append(lines_of(online_rows(run, champion, joined_columns(3))), NOW.date())
    (segment,) = run.paths.online_log.rglob("*.jsonl")
    with segment.open("ab") as handle:
        handle.write(b'{"prediction_id": "2024-07-20-o00", "ti')
    assert 3 == PredictionLog.open(run).read(TODAY).num_rows
    with pytest.raises(StoreError, match="not in the prediction log"):
        PredictionLog.open(run).find("2024-07-20-o00")


def test_a_damaged_line_is_an_error(run: Run, champion: Champion) -> None:
    """What was written whole and cannot be read is never left out in silence."""
    rows = online_rows(run, champion, joined_columns(3))
    OnlineLog(run.paths.online_log).append(lines_of(rows), NOW.date())
    (segment,) = run.paths.online_log.rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"time"', b'"time', 1))
    with pytest.raises(StoreError, match="cannot be read"):
        PredictionLog.open(run).read(TODAY)
    with pytest.raises(StoreError, match="cannot be read"):
        PredictionLog.open(run).find(rows.column("prediction_id")[0].as_py())


def test_a_log_that_cannot_be_written_is_an_error(run: Run, champion: Champion) -> None:
    """No room, no answer: appending raises, and goes on in another segment once there is room again."""
    log, rows = OnlineLog(run.paths.online_log), online_rows(run, champion, joined_columns(1))
    log.append(lines_of(rows), NOW.date())
    folder = run.paths.online_log / f"date={NOW.date()}"
    hidden = folder.rename(folder.with_name("hidden"))
    folder.write_text("in the way")
    with pytest.raises(StoreError, match="could not be logged"):
        log.append(lines_of(rows), NOW.date())
    folder.unlink()
    hidden.rename(folder)
    log.append(lines_of(rows), NOW.date())
    assert 2 == len([*folder.glob("*.jsonl")])


def test_a_full_disk_tears_no_line_that_is_read(run: Run, champion: Champion) -> None:
    """A write that ends half-way is an error; what it left is no row, and what comes after it is whole."""
    log, rows = OnlineLog(run.paths.online_log), online_rows(run, champion, joined_columns(1))
    log.append(lines_of(rows), NOW.date())
    (segment,) = run.paths.online_log.rglob("*.jsonl")
    with file_size_limit(segment.stat().st_size + 100), pytest.raises(StoreError, match="written in part"):
        log.append(lines_of(online_rows(run, champion, joined_columns(1))), NOW.date())
    log.append(lines_of(online_rows(run, champion, joined_columns(1))), NOW.date())
    assert 2 == PredictionLog.open(run).read(TODAY).num_rows


def test_of_an_answer_that_is_logged_in_part_nothing_counts(run: Run, champion: Champion) -> None:
    """Its first rows are whole, but nobody got them: they are taken back."""
    log, rows = OnlineLog(run.paths.online_log), online_rows(run, champion, joined_columns(3))
    log.append(lines_of(online_rows(run, champion, joined_columns(1))), NOW.date())
    (segment,) = run.paths.online_log.rglob("*.jsonl")
    before = segment.read_bytes()
    with file_size_limit(len(before) + int(2.5 * len(before))), pytest.raises(StoreError, match="written in part"):
        log.append(lines_of(rows), NOW.date())
    assert before == segment.read_bytes()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes for a while."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_absence_is_logged_with_its_reason(run: Run, champion: Champion) -> None:
    """For each lookup of an online answer; a batch does not know why a feature is absent."""
    columns = joined_columns(2)
    (first, second) = online_rows(run, champion, columns).to_pylist()
    first["absences"] = {"patient_history": "stale"}
    OnlineLog(run.paths.online_log).append(line_of(first) + line_of(second), NOW.date())
    found = [PredictionLog.open(run).find(row["prediction_id"])["absences"] for row in (first, second)]
    assert [{"patient_history": "stale"}, {"patient_history": None}] == found
    assert [{"patient_history": None}] * 2 == batch_rows(run, champion, columns)["absences"].to_pylist()


def test_what_no_caller_got_is_marked_until_one_gets_it(run: Run, champion: Champion) -> None:
    """In either order of the marks, and for the predictions of that answer alone."""
    log, other = OnlineLog(run.paths.online_log), OnlineLog(run.paths.online_log)
    rows = online_rows(run, champion, joined_columns(4))
    log.append(lines_of(rows), NOW.date())
    ids = rows["prediction_id"].to_pylist()
    other.mark_delivered(ids[:1])
    log.mark_undelivered(ids[:2])
    assert {ids[1]} == undelivered_ids(run)
    other.mark_delivered(ids[1:2])
    assert set() == undelivered_ids(run)
    log.mark_undelivered(ids[2:])
    assert {*ids[2:]} == undelivered_ids(run)


def undelivered_ids(run: Run) -> set[str]:
    log = PredictionLog.open(run).read(TODAY)
    return {*log.filter(log["undelivered"])["prediction_id"].to_pylist()}


def test_a_damaged_mark_is_an_error(run: Run, champion: Champion) -> None:
    """Nobody can say which predictions it was about."""
    log, rows = OnlineLog(run.paths.online_log), online_rows(run, champion, joined_columns(1))
    log.append(lines_of(rows), NOW.date())
    log.mark_undelivered(rows["prediction_id"].to_pylist())
    (marks,) = run.paths.online_log.rglob("*.marks")
    marks.write_bytes(b"{" + marks.read_bytes())
    with pytest.raises(StoreError, match="cannot be read"):
        PredictionLog.open(run).read(TODAY)


def test_an_answer_that_is_no_number_is_not_logged(run: Run, champion: Champion) -> None:
    """A model that answers with NaN is stopped before anybody believes it."""
    columns = joined_columns(2)
    with pytest.raises(DataError, match="not a finite number"):
        prediction_schema.log_entries(
            prediction_schema.log_schema(run.use_case),
            champion,
            columns,
            np.array([0.5, np.nan]),
            ids=["a", "b"],
            times=columns["event_timestamp"],
            scorer=SCORER,
        )


def test_rows_of_an_earlier_contract_stay_readable(run: Run, champion: Champion) -> None:
    """A feature that no longer exists is left out of what is read together, but not of what an id leads to."""
    rows = online_rows(run, champion, joined_columns(1))
    OnlineLog(run.paths.online_log).append(lines_of(rows), NOW.date())
    (segment,) = run.paths.online_log.rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"features": {', b'"features": {"gone": 1.5, '))
    assert 1 == PredictionLog.open(run).read(TODAY).num_rows
    found = PredictionLog.open(run).find(rows.column("prediction_id")[0].as_py())
    assert 1.5 == found["features"]["gone"]
