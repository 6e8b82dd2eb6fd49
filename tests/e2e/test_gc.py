"""After days of operation, `ratchet gc` removes what is old. What is kept can be traced and restored, and DVC is content."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.trace import trace
from ratchet.project.run import Run
from ratchet.storage.partitions import files
from tests.support.checkout import commit, noshow_checkout, run_command, write_params
from tests.support.killing import contents

DAYS = 6
FIRST = datetime.fromisoformat("2024-08-01T14:30:00+00:00")
RUNS, PREDICTIONS = timedelta(days=3), timedelta(days=19)


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which all pipelines ran on each of some days, and were recorded as flows record them."""
    checkout = noshow_checkout(tmp_path_factory.mktemp("operated"))
    write_params(checkout, rows_per_week=150)
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    section = params["use_cases"]["noshow"]
    section["windows"]["training"] = "110d"
    section["retention"] = {"predictions": f"{PREDICTIONS.days}d", "features": "192d", "runs": f"{RUNS.days}d"}
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    commit(checkout, "Settings")
    run_command(checkout, "dvc", "repro")
    last = FIRST + timedelta(days=DAYS - 1)
    run_command(checkout, "python", "-m", "cli", "backfill", "--from", FIRST.isoformat(), "--to", last.isoformat())
    return checkout


def gc(checkout: Path, *options: str) -> dict[str, int]:
    """What `ratchet gc` counts, by kind."""
    said = run_command(checkout, "python", "-m", "cli", "gc", *options).stdout.splitlines()[1:]
    rows = [line.split(None, 3) for line in said if line[:9].strip().replace(",", "").isdigit()]
    return {row[3].partition(",")[0].partition(";")[0]: int(row[0].replace(",", "")) for row in rows}


def traces(checkout: Path) -> dict[str, Any]:
    """The origin of one kept prediction of each day and scorer, by its id."""
    run = Run.load(checkout)
    first = (run.as_of("inference") - PREDICTIONS).date()
    tables = (
        pq.read_table(path, columns=["prediction_id"], partitioning=None)
        for path in files(run.paths.predictions, first)
    )
    ids = [table["prediction_id"][0].as_py() for table in tables]
    return {each: trace(PredictionLog.open(run), ModelRegistry.open(run), each) for each in ids}


@pytest.mark.soak
def test_days_of_operation_are_collected(operated: Path) -> None:
    """What is removed is what was shown before, of every kind that grows, and nothing that is kept has changed."""
    before, planned = traces(operated), gc(operated)
    clean, locks = run_command(operated, "dvc", "status").stdout, sorted(operated.glob("state/*/*/runs/*/*/dvc.lock"))
    assert planned == gc(operated, "--apply")
    grown = ("days of predictions", "data versions of runs", "models that never served", "files in DVC's cache")
    assert all(planned[kind] > 0 for kind in grown), planned
    assert (clean, before) == (run_command(operated, "dvc", "status").stdout, traces(operated))
    assert {0} == set(gc(operated).values())
    kept = [lock for lock in locks if lock.exists()]
    assert 0 < len(kept) < len(locks)
    features = contents(operated / "data")
    for lock in kept:
        run_command(operated, "python", "-m", "cli", "restore", str(lock))
    assert features == contents(operated / "data")
