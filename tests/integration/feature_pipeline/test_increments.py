"""The feature pipeline day by day, and over all days at once."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.materialize import materialize
from feature_pipeline.validate import validate
from ratchet.project.run import Run
from tests.support.accepted import accept_all
from tests.support.killing import contents
from tests.support.killing_sql import online_rows
from tests.support.runs import noshow_project
from tests.support.windows import at


def compute(run: Run, instant: datetime) -> None:
    """Every step of the feature pipeline as of an instant."""
    for step in (ingest, validate, featurize, materialize):
        step(at(run, instant))


def test_days_one_by_one_give_the_bytes_of_all_at_once(tmp_path: Path) -> None:
    """Tables, quarantine, features and the rows of the online store; also if time went back and forward again, and over the end
    of a month, with which the month before it becomes one file."""
    found = []
    for name, days in (("daily", (31, 30, 2, 1, 0)), ("at_once", (0,)), ("back", (0, 1, 0))):
        run = noshow_project(tmp_path / name, rows_per_week=60, weeks_per_batch=1)
        for before in days:
            compute(run, run.as_of("feature") - timedelta(days=before))
        found.append((contents(run.paths.data), online_rows(run)))
    assert found[0] == found[1] == found[2]
    dates = {path.parent.name for path in (run.paths.features / "labels").glob("*/*.parquet")}
    assert {"month=2024-05", "date=2024-06-03"} <= dates
    assert not {"date=2024-05-06", "month=2024-06"} & dates


def test_a_correction_of_an_old_month_changes_its_file(tmp_path: Path) -> None:
    """And no other one, of what follows from a single day."""
    run = noshow_project(tmp_path, rows_per_week=60)

    def further_ahead(rows: pa.Table) -> pa.Table:
        is_that_day = pc.equal(pc.cast(rows["reminder_at"], pa.date32()), date(2024, 2, 13))
        ahead = pc.add(rows["booked_days_ahead"], pc.cast(is_that_day, rows["booked_days_ahead"].type))
        return rows.set_column(rows.column_names.index("booked_days_ahead"), "booked_days_ahead", ahead)

    found = []
    for change in (lambda rows: rows, further_ahead):
        accept_all(run, change)
        featurize(run)
        found.append(contents(run.paths.features / "requests"))
    before, after = found
    changed = {path for path in after if path.endswith(".parquet") and before[path] != after[path]}
    assert (before.keys(), {"month=2024-02/part.parquet"}) == (after.keys(), changed)
