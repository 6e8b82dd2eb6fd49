"""A pause of the inference pipeline beyond its fresh window leaves a hole, which is said until it was filled."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_pipeline.featurize import featurize
from inference_pipeline.batch.predict import predict
from ratchet.core.clock import Period, local_midnight
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import request_times
from ratchet.model_registry.champion import resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote
from ratchet.prediction_log.dropped import drop_before
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.data_status import data_status
from ratchet.project.headlines import HEADLINES
from ratchet.project.run import Run
from ratchet.project.step_reports import Report, run_step
from tests.support.accepted import accept_all
from tests.support.noshow_on_demand import TIMEZONE
from tests.support.registry import candidate, copied, offer_model
from tests.support.remedies import follow
from tests.support.runs import NOSHOW
from tests.support.windows import with_end

FIRST, LAST = NOSHOW[-1], date(2024, 9, 2)
"""The local days as of which the pipeline ran, and then ran again."""
FRESH = NOSHOW[-1] - NOSHOW[-2]
HOLE = Period.between(FIRST, LAST - FRESH, TIMEZONE)


@pytest.fixture
def run(serving_project: Run, tmp_path: Path) -> Run:
    """A project of the test's own, whose requests were scored once."""
    run = copied(serving_project, tmp_path / "project")
    score(run)
    return run


def score(run: Run) -> Report:
    return run_step(run, "predict", predict)


def featurized(run: Run, end: date, change: Callable[[pa.Table], pa.Table] = lambda rows: rows) -> Run:
    """The run as of the beginning of another local day, with features."""
    later = with_end(run, end)
    accept_all(later, change)
    featurize(later)
    apply(FeatureStore.open(later))
    return later


def inferring(run: Run, day: date) -> Run:
    """The run, with only the inference pipeline as of another local day."""
    assert run.instants
    return replace(run, instants=run.instants.model_copy(update={"inference": local_midnight(day, TIMEZONE)}))


def due(run: Run) -> list[str]:
    """What `ratchet status` says of requests that no run scored."""
    return [line for line in data_status(run)["due"] if "no run scored" in line]


def without(period: Period) -> Callable[[pa.Table], pa.Table]:
    """Rows without those whose reminder was sent in a period."""
    within = (pc.field("reminder_at") >= period.start) & (pc.field("reminder_at") < period.end)
    return lambda rows: rows.filter(~within)


def scored(run: Run, period: Period) -> set[str]:
    return {*PredictionLog.open(run).read(period)["request_id"].to_pylist()}


def test_a_first_run_leaves_no_hole(run: Run) -> None:
    """Nor does the same run again, or the next one whose window still overlaps."""
    assert [] == score(run)["unscored"] == due(run)
    assert [] == score(featurized(run, FIRST + FRESH))["unscored"]


def test_a_jump_leaves_a_hole_that_is_said(run: Run) -> None:
    """By the report and its line, from the last request that was scored on; and by the status, with the commands."""
    later = featurized(run, LAST)
    report = score(later)
    (hole,) = report["unscored"]
    assert HOLE.end == datetime.fromisoformat(hole["end"])
    last = request_times(FeatureStore.open(run), run.period("fresh"))["event_timestamp"][-1].as_py()
    assert last + timedelta(microseconds=1) == datetime.fromisoformat(hole["start"])
    assert set() == scored(later, HOLE)
    assert f"{last:%Y-%m-%d %H:%MZ} to {HOLE.end:%Y-%m-%d %H:%MZ}" in HEADLINES["predict"](report)
    (line,) = due(later)
    assert f"{last:%Y-%m-%d %H:%MZ} to {HOLE.end:%Y-%m-%d %H:%MZ}" in line
    assert [
        f"ratchet advance tests.support.noshow --back --to {FIRST} --pipeline inference",
        f"ratchet backfill tests.support.noshow --from {FIRST} --to {LAST - FRESH} --pipeline inference",
        f"ratchet advance tests.support.noshow --to {LAST} --pipeline inference",
        "dvc repro monitor@tests.support.noshow",
    ] == re.findall("`(.*?)`", line)
    assert [hole] == score(later)["unscored"]


def test_what_fills_the_hole_ends_the_line(run: Run) -> None:
    """Each day that a backfill works through makes it shorter; afterwards nothing is said, and every request was scored."""
    later = featurized(run, LAST)
    score(later)
    day = FIRST
    while day < LAST - FRESH:
        score(inferring(later, day))
        (line,) = due(later)
        assert f"--from {day} " in line or f"--from {day + timedelta(days=1)} " in line
        day += timedelta(days=1)
    assert [] == score(inferring(later, day))["unscored"]
    assert [] == due(later) == score(later)["unscored"]
    requested = request_times(FeatureStore.open(later), HOLE).num_rows
    assert requested == len(scored(later, HOLE)) > 0


def test_going_back_and_forward_again_leaves_no_hole(run: Run) -> None:
    """What was scored as of a later instant stays scored."""
    assert [] == score(with_end(run, FIRST - timedelta(days=3)))["unscored"]
    assert [] == score(run)["unscored"] == due(run)


def test_a_time_without_requests_is_no_hole(run: Run) -> None:
    """Until some are delivered."""
    silent = featurized(run, LAST, without(HOLE))
    assert [] == score(silent)["unscored"] == due(silent)
    assert 1 == len(due(featurized(run, LAST)))


def test_what_is_not_kept_is_no_hole(run: Run) -> None:
    """Neither predictions that would be dropped, nor requests without the features of a whole window, can be had again."""
    later = featurized(run, LAST)
    score(later)
    kept = HOLE.start + timedelta(days=2)
    drop_before(later.paths.predictions, later.paths.online_log, kept.date())
    (line,) = due(later)
    assert f"{kept:%Y-%m-%d} 00:00Z to" in line
    drop_before(later.paths.predictions, later.paths.online_log, HOLE.end.date() + timedelta(days=1))
    assert [] == due(later)
    later.paths.online_log.joinpath("dropped.json").unlink()
    retention = later.settings.retention.model_copy(update={"features": FRESH + timedelta(days=19)})
    brief = later.with_settings(retention=retention)
    featurize(brief)
    (line,) = due(brief)
    assert f"--from {LAST - timedelta(days=18)} " in line


def test_a_model_that_was_trained_until_later_gives_way_first(run: Run) -> None:
    """It scores nothing of the hole, which stays due; the commands of the line let a former one score it, and then it again."""
    later, former = featurized(run, LAST), resolve_champion(ModelRegistry.open(run)).model
    contract = former.contract.model_copy(update={"trained_until": HOLE.end})
    version = offer_model(later, replace(candidate(trees=4), contract=contract), former.digest)
    promote(ModelRegistry.open(later), version, by="ann")
    assert 3 == score(later)["model_version"]
    days = [FIRST + timedelta(days=number) for number in range((LAST - FRESH - FIRST).days + 1)]
    for day in days:
        score(inferring(later, day))
    (line,) = due(later)
    assert "version 3 was trained until later" in line
    back, forward, *_ = re.findall("`.*?`", line)
    assert follow(later, back) is None
    assert {2} == {score(inferring(later, day))["model_version"] for day in days}
    assert [] == due(later)
    assert follow(later, forward) is None
    assert (3, []) == ((report := score(later))["model_version"], report["unscored"])
