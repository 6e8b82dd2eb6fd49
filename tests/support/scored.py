"""The second use case with one more view: scores of patients, which another system computes and writes to Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.project.run import Run
from ratchet.use_case.contract import INSTANT, Lookup
from ratchet.use_case.upstream import upstream
from tests.support import noshow
from tests.support.runs import noshow_project

SCORES = pa.schema(
    {
        "patient": pa.string(),
        "risk": pa.float64(),
        "visits": pa.int64(),
        "tier": pa.string(),
        "is_new": pa.bool_(),
        "event_timestamp": INSTANT,  # its own time, by the name that Feast's users know; not from when a row counts
        "written_at": INSTANT,
    }
)
LAG = timedelta(minutes=30)
VIEW = upstream(
    "scores",
    SCORES,
    keys=("patient",),
    event_time="event_timestamp",
    available_at="written_at",
    max_age=timedelta(days=30),
    lag=LAG,
)
use_case = replace(
    noshow.use_case,
    name="scored",
    views=(*noshow.use_case.views, VIEW),
    lookups=(*noshow.use_case.lookups, Lookup("scores", {"patient": "patient"})),
    inputs={**noshow.use_case.inputs, "scores__risk": "number", "scores__tier": "category"},
)


def declared_with(run: Run, **changes: Any) -> Run:
    """The project with some arguments of the view's declaration changed."""
    assert VIEW.upstream
    times = {"event_time": VIEW.upstream.event_time, "available_at": VIEW.upstream.available_at}
    given: dict[str, Any] = {"keys": VIEW.keys, **times, "max_age": VIEW.max_age, "lag": LAG}
    view = upstream("scores", **{"schema": SCORES, **given, **changes})
    return replace(run, given=replace(run.use_case, views=(*run.use_case.views[:-1], view)))


START = datetime(2024, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def scored_project(root: Path, **options: int) -> Run:
    """A project of this use case; its scores lie in `scores/`, a folder of the checkout."""
    run = noshow_project(root, **options)
    return run.with_settings(use_case="tests.support.scored", upstream={"scores": "scores"})


def score(patient: int, about: datetime, written: datetime, risk: float | None = 0.5, **others: Any) -> Row:
    """A row as the other system writes it."""
    rest = {"visits": None, "tier": "low", "is_new": False, **others}
    return {"patient": f"p{patient}", "risk": risk, "event_timestamp": about, "written_at": written, **rest}


def write_scores(run: Run, rows: Sequence[Row], name: str = "part.parquet", schema: pa.Schema = SCORES) -> Path:
    """Let the other system write a file."""
    path = run.root / "scores" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([*rows], schema), path)
    return path


def weekly_scores(weeks: range, patients: int = 60) -> list[Row]:
    """A score of each patient for every Monday, written in the course of the day after it."""
    rng = np.random.default_rng(weeks.start)
    return [
        score(
            patient,
            monday := START + timedelta(weeks=week),
            monday + timedelta(days=1, seconds=int(rng.integers(86_400))),
            float(rng.normal() + (patient % 3 == 0)),
            visits=int(rng.integers(9)),
            tier=str(rng.choice(["low", "high"])),
            is_new=bool(rng.integers(2)),
        )
        for week in weeks
        for patient in range(patients)
    ]
