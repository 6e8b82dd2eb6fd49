"""Old predictions are dropped from both halves of the log, by date, and asking for one says so."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from ratchet.core.errors import StoreError
from ratchet.prediction_log.batch_log import BatchLog
from ratchet.prediction_log.dropped import days_before, drop_before, dropped_before, models_since
from ratchet.prediction_log.log import PredictionLog
from ratchet.storage.partitions import files, read_manifest
from tests.support.killing import contents, survives

DAYS = [date(2024, 5, day) for day in (1, 2, 3)]
KEPT = date(2024, 5, 3)
LEFTOVERS = r"online/\..*\.tmp"


def write_log(root: Path) -> tuple[Path, Path]:
    """A log with a row a day in each half; two scorers wrote the batch half."""
    batch, online = root / "batch", root / "online"
    for day in DAYS:
        for scorer in ("a1", "b2"):
            BatchLog(batch, scorer).add({day: [f"{day}"]}, lambda first, _last, scorer=scorer: _row(first, scorer))  # type: ignore[misc]
        folder = online / f"date={day}"
        folder.mkdir(parents=True)
        line = {"prediction_id": f"{day}-o0", "model_digest": f"{day.day:064x}"}
        (folder / "segment.jsonl").write_text(f"{json.dumps(line)}\n", encoding="utf-8")
    return batch, online


def _row(day: date, scorer: str) -> pa.Table:
    time = pa.array([datetime(day.year, day.month, day.day, 12, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    ids = [f"{day}-b{scorer}"]
    return pa.table({"prediction_id": ids, "time": time, "request_id": [f"{day}"], "model_digest": [scorer * 32]})


def log_of(batch: Path, online: Path) -> PredictionLog:
    return PredictionLog(batch, online, pa.schema)


def test_only_earlier_dates_go(tmp_path: Path) -> None:
    """Those of the day and later ones keep every byte; the record of the batch half lists what is there."""
    batch, online = write_log(tmp_path)
    before = {path: of for path, of in contents(tmp_path).items() if str(KEPT) in path}
    drop_before(batch, online, KEPT)
    after = contents(tmp_path)
    assert before == {path: of for path, of in after.items() if not path.endswith(("_manifest.json", "dropped.json"))}
    assert [f"date={KEPT}/a1", f"date={KEPT}/b2"] == [*read_manifest(batch)]
    assert [[], []] == [days_before(batch, KEPT), days_before(online, KEPT)]
    drop_before(batch, online, KEPT)
    assert after == contents(tmp_path)


def test_asking_for_what_was_dropped_says_so(tmp_path: Path) -> None:
    """It is older than what is kept, and not unknown; a later one that never was is unknown."""
    batch, online = write_log(tmp_path)
    drop_before(batch, online, KEPT)
    log = log_of(batch, online)
    for half in ("ba1", "o0"):
        assert log.find(f"{KEPT}-{half}")["prediction_id"] == f"{KEPT}-{half}"
        with pytest.raises(StoreError, match=rf"older than .*{KEPT}"):
            log.find(f"2024-05-02-{half}")
    with pytest.raises(StoreError, match="is not in the prediction log"):
        log.find(f"{KEPT}-b00")


def test_what_was_dropped_stays_dropped(tmp_path: Path) -> None:
    """A longer retention brings nothing back, and does not claim to."""
    batch, online = write_log(tmp_path)
    assert date.min == dropped_before(online)
    drop_before(batch, online, KEPT)
    drop_before(batch, online, DAYS[0])
    assert KEPT == dropped_before(online)


def test_a_scorer_goes_on_after_older_dates_were_dropped(tmp_path: Path) -> None:
    """It adds to what is kept, and does not make again what was dropped."""
    batch, online = write_log(tmp_path)
    drop_before(batch, online, KEPT)
    later = date(2024, 5, 4)
    BatchLog(batch, "a1").add({KEPT: [f"{KEPT}"], later: [f"{later}"]}, lambda first, _last: _row(first, "a1"))
    assert [str(KEPT), str(KEPT), str(later)] == [Path(path).parent.name.removeprefix("date=") for path in files(batch)]


def test_models_of_what_is_kept(tmp_path: Path) -> None:
    """Of both halves, from a date on."""
    batch, online = write_log(tmp_path)
    assert {"a1" * 32, "b2" * 32, f"{3:064x}"} == set(models_since(batch, online, KEPT))
    assert {f"{day.day:064x}" for day in DAYS} < set(models_since(batch, online, date.min))


def prepare(root: Path) -> None:
    """The log before anything is dropped."""
    write_log(root)


def work(root: Path) -> None:
    """Drop the first two days; whoever asks in between finds what is kept, and is not told that the rest never was."""
    log = log_of(root / "batch", root / "online")
    assert log.holds(f"{KEPT}-ba1")
    assert log.holds("2024-05-01-ba1") or log.dropped("2024-05-01-ba1")
    drop_before(root / "batch", root / "online", KEPT)


def test_it_can_be_killed_at_any_point_and_run_again(tmp_path: Path) -> None:
    """Another call leaves what an undisturbed one leaves."""
    assert survives("tests.unit.ratchet.prediction_log.test_dropped", tmp_path) > 5
