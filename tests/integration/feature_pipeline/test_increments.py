"""The feature pipeline day by day, and over all days at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.materialize import materialize
from feature_pipeline.validate import validate
from ratchet.project.run import Run
from tests.support.killing import contents
from tests.support.killing_sql import online_rows
from tests.support.runs import noshow_project
from tests.support.windows import at


def compute(run: Run, instant: datetime) -> None:
    """Every step of the feature pipeline as of an instant."""
    for step in (ingest, validate, featurize, materialize):
        step(at(run, instant))


def test_days_one_by_one_give_the_bytes_of_all_at_once(tmp_path: Path) -> None:
    """Tables, quarantine, features and the rows of the online store; also if a day back, and forward again, came between."""
    found = []
    for name, days in (("daily", (2, 1, 0)), ("at_once", (0,)), ("back", (0, 1, 0))):
        run = noshow_project(tmp_path / name, rows_per_week=60, weeks_per_batch=1)
        for before in days:
            compute(run, run.as_of("feature") - timedelta(days=before))
        found.append((contents(run.paths.data), online_rows(run)))
    assert found[0] == found[1] == found[2]
