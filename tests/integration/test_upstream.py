"""Features that another system computed, from its file to training, serving and the gate. Nothing is copied."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from authoring.check import checkup
from cli.main import ratchet
from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.core.errors import SourceError, StoreError
from ratchet.feature_store.definitions import open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical
from ratchet.features.service import service_spec
from ratchet.gate.checks import run_checks
from ratchet.project.headlines import HEADLINES
from ratchet.project.run import Run
from ratchet.storage.arrow import to_columns
from ratchet.storage.partitions import files
from ratchet.use_case.contract import Columns
from tests.support.accepted import accept_all
from tests.support.messages import missing
from tests.support.online_reads import read_online
from tests.support.records import good_evidence
from tests.support.registry import copied
from tests.support.runs import write_settings
from tests.support.scored import (
    LAG,
    SCORES,
    Row,
    declared_with,
    score,
    scored_project,
    weekly_scores,
    write_scores,
)
from tests.support.shared import shared
from tests.support.variants import with_gate
from tests.support.windows import at, with_days
from training_pipeline.dataset import dataset, find_leaks

DAYS = (date(2024, 3, 15), date(2024, 3, 25), date(2024, 4, 1), date(2024, 4, 22), date(2024, 5, 1))
UNTIL = datetime(2024, 4, 30, 14, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PLANS = [score(1, UNTIL + hours * HOUR, UNTIL - DAY, risk=hours, tier="plan") for hours in (0, 1, 30)]
"""What is known today about later times."""
CORRECTED = [score(2, UNTIL - 3 * DAY, UNTIL - days * DAY, risk=days, tier="corrected") for days in (2, 1)]
PENDING = score(3, UNTIL - DAY, UNTIL - LAG, risk=9.0, tier="pending")
"""It arrives at UNTIL, so that the run as of then does not have it yet."""
ROWS = [*weekly_scores(range(11, 17)), *PLANS, *CORRECTED, PENDING]


def project(root: Path) -> Run:
    run = with_gate(scored_project(root, rows_per_week=100), block="day")
    return at(with_days(run, DAYS), UNTIL)


def prepare_online(run: Run) -> None:
    write_scores(run, ROWS[::2], "one.parquet")
    write_scores(run, ROWS[1::2], "two.parquet")
    accept_all(run)
    featurize(run)
    materialize(run)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project whose two stores are up to date; to be left as it is found."""
    return shared(tmp_path_factory, "scored", project, prepare_online)


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A project of the test's own."""
    return copied(finished, tmp_path / "copy")


def counts_from(row: Row) -> datetime:
    arrived: datetime = row["written_at"] + LAG
    return max(arrived.replace(minute=0, second=0, microsecond=0) + HOUR, row["event_timestamp"])


def holding(patient: str, at: datetime) -> Row | None:
    """By brute force: the row that a request of a patient finds at a time."""
    known = [row for row in ROWS if row["patient"] == patient and counts_from(row) <= at]
    best = max(known, key=lambda row: (row["event_timestamp"], row["written_at"]), default=None)
    return best if best and at - counts_from(best) <= timedelta(days=30) else None


def asked(timestamp: datetime, patients: list[str]) -> dict[str, Any]:
    """Requests as columns, all at one timestamp."""
    stamp = np.datetime64(timestamp.replace(tzinfo=None), "us")
    columns = {"patient": np.array(patients, object), "clinic": np.full(len(patients), "north", object)}
    days = {"booked_days_ahead": np.ones(len(patients))}
    return {**columns, **days, "event_timestamp": np.full(len(patients), stamp)}


def as_of(run: Run, columns: Columns) -> dict[str, Any]:
    """What the point-in-time join finds for requests, in their order."""
    store = open_store(FeatureStore.open(run))
    service = store.get_feature_service(service_spec(run.use_case).name)
    entities = pd.DataFrame({"row": range(len(columns["patient"])), **columns})
    found = store.get_historical_features(entities, service, full_feature_names=True).with_event_timestamps()
    return {name: column for name, column in to_columns(found.sort_by("row")).items() if "__" in name}


def test_training_rows_have_what_serving_could_have_had(finished: Run) -> None:
    """For every request of seven weeks, and without a copy of a row."""
    columns = historical(FeatureStore.open(finished), finished.period("all"))
    times = columns["event_timestamp"].astype("datetime64[us]").tolist()
    expected = [
        holding(patient, time.replace(tzinfo=UNTIL.tzinfo))
        for patient, time in zip(columns["patient"], times, strict=True)
    ]
    assert [row and row["tier"] for row in expected] == columns["scores__tier"].tolist()
    risks = [row["risk"] if row else np.nan for row in expected]
    np.testing.assert_array_equal(np.array(risks, np.float64), columns["scores__risk"])
    assert 0 < sum(row is None for row in expected) < len(expected) / 4
    assert [path for path in files(finished.paths.features) if "scores" in path] == []


PATIENTS = [f"p{number}" for number in range(61)]


def assert_served(run: Run, timestamp: datetime, patients: list[str]) -> list[str | None]:
    """Serving finds the scores that the join finds, to the bit; their tiers."""
    columns = asked(timestamp, patients)
    expected, found = as_of(run, columns), read_online(run, columns)
    for name in (name for name in expected if name.startswith("scores")):
        np.testing.assert_array_equal(expected[name], found[name], err_msg=name)
    tiers: list[str | None] = found["scores__tier"].tolist()
    return tiers


@pytest.mark.parametrize("later", [timedelta(), timedelta(seconds=1), HOUR, 31 * HOUR, 20 * DAY, 40 * DAY])
def test_serving_finds_what_training_does(finished: Run, later: timedelta) -> None:
    """As long as nothing new arrives: plans begin to hold, and values become too old."""
    patients = PATIENTS if later < HOUR else [name for name in PATIENTS if name != PENDING["patient"]]
    expected = [row and row["tier"] for row in (holding(patient, UNTIL + later) for patient in patients)]
    assert expected == assert_served(finished, UNTIL + later, patients)


def test_a_later_run_writes_what_arrived(run: Run) -> None:
    """Only the keys whose rows changed; and then serving has it, as training does."""
    later = at(run, UNTIL + HOUR)
    write_scores(later, [score(5, UNTIL, UNTIL + HOUR / 4, tier="new")], "three.parquet")
    assert [] == featurize(later)["upstream"]["scores"]["restated"]
    changed = {name.rpartition("_")[0]: count for name, count in materialize(later)["changed"].items()}
    assert 3 == changed["scores"]  # what was pending, what arrived, and the plan that holds now
    tiers = assert_served(later, UNTIL + HOUR, PATIENTS)
    assert ["plan", "corrected", "pending", "new"] == [tiers[patient] for patient in (1, 2, 3, 5)]


def test_nothing_is_done_twice(run: Run) -> None:
    """A repeated run reports the same and leaves every byte, also when rows were added that it does not know."""
    reports = [featurize(run), materialize(run)]
    write_scores(run, [score(5, UNTIL, UNTIL)], "three.parquet")
    assert reports == [featurize(run), materialize(run)]


def test_what_was_restated_is_used_by_nobody_until_it_is_recorded(run: Run) -> None:
    """Neither a new training set nor the online store takes it from a file that featurize did not see."""
    write_scores(run, [{**row, "risk": 0.0} for row in ROWS[::2]], "one.parquet")
    for step in (dataset, materialize):
        with pytest.raises(StoreError, match="scores"):
            step(run)
    with pytest.raises(StoreError, match="scores"):
        historical(FeatureStore.open(run), run.period("holdout"))
    report = featurize(run)
    assert [] == missing(HEADLINES["featurize"](report), "restated", "scores")
    materialize(run)
    assert 0.0 in historical(FeatureStore.open(run), run.period("holdout"))["scores__risk"]


def test_files_that_are_gone_stop_what_needs_them(run: Run) -> None:
    """With the place and the setting; what was registered stays."""
    for path in (run.root / "scores").iterdir():
        path.unlink()
    for step in (featurize, dataset, materialize):
        with pytest.raises(SourceError, match="scores"):
            step(run)


def test_the_gate_names_what_it_cannot_prove(finished: Run) -> None:
    """The evidence has the views whose rows another system says were available; the others are recomputed."""
    leaks = find_leaks(finished)
    assert (("scores",), {"patient_history", "requests", "labels"}) == (leaks.upstream, {*leaks.tables})
    assert leaks.passed
    (check,) = [each for each in run_checks(good_evidence(leaks=leaks), finished.settings.gate) if each.name == "leaks"]
    assert check.passed
    assert [] == missing(check.detail, "scores")


class TestCheck:
    def test_it_finds_nothing_in_a_right_use_case_and_names_the_view(self, finished: Run) -> None:
        """Whether its rows were available in time cannot be checked."""
        found = checkup(finished)
        assert ([], ["scores"]) == ([*map(str, found.findings)], [*found.upstream])

    def test_the_command_says_so(self, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        done = command(finished, monkeypatch, "check")
        assert (0, []) == (done[0], missing(done[1], "scores", "available_at"))

    @pytest.mark.parametrize(
        ("change", "what", "names"),
        [
            (lambda run: run.with_settings(upstream={}), "upstream", ["scores"]),
            (lambda run: run.with_settings(upstream={"scores": "nowhere"}), "upstream", ["nowhere"]),
            (
                lambda run: declared_with(run, schema=SCORES.append(pa.field("age", pa.int64()))),
                "upstream",
                ["age", "one.parquet"],
            ),
            (lambda run: declared_with(run, max_age=HOUR / 2), "max-age-too-short", ["scores"]),
            (lambda run: declared_with(run, lag=timedelta(days=400)), "max-age-too-short", ["scores"]),
            (lambda run: declared_with(run, lag=timedelta(days=400), max_age=None), "view-empty", ["scores"]),
        ],
    )
    def test_it_finds_mistakes(self, finished: Run, change: Any, what: str, names: list[str]) -> None:
        """With the names that a person has to look at."""
        found = checkup(change(finished)).findings
        assert what == found[0].what
        assert [] == missing(found[0], *names)


@pytest.mark.parametrize(("rows", "said"), [(ROWS, "still hold"), (ROWS[60:], "restated")])
def test_restore_says_what_it_cannot_restore(
    finished: Run, run: Run, rows: list[Row], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whether it is what was used then."""
    (run.root / "scores" / "two.parquet").unlink()
    write_scores(run, rows, "one.parquet")
    monkeypatch.setattr("ratchet.project.restore.restore", lambda *_: None)
    code, output = command(run, monkeypatch, "restore", "dvc.lock")
    assert (0, []) == (code, missing(output, "scores", *said.split()))


def command(run: Run, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """The exit code and the output of a command in the project's folder."""
    write_settings(run.root, run)
    monkeypatch.chdir(run.root)
    done = CliRunner().invoke(ratchet, [*arguments])
    return done.exit_code, done.output
