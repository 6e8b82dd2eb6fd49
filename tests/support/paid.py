"""A source that goes on delivering payments, in a batch that changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from feature_pipeline.ingest import ingest
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from tests.support.feed import deliver, deliver_shops, feed_project, payment
from tests.support.windows import at

FIRST = datetime(2024, 1, 2, tzinfo=UTC)
Paid = dict[int, tuple[int, float]]
"""Payment → hours after the first day began, and amount."""


def after(days: int) -> datetime:
    return FIRST + timedelta(days=days)


def bring(run: Run, instant: datetime, paid: Paid) -> Report:
    """Deliver the batch with these payments, and ingest as of an instant."""
    rows = [payment(one, f"2024-01-01T{hours % 24:02}:00", amount) for one, (hours, amount) in sorted(paid.items())]
    for row, (hours, _) in zip(rows, (paid[one] for one in sorted(paid)), strict=True):
        row["at"] = after(-1) + timedelta(hours=hours)
    deliver(run, "one", rows)
    return ingest(at(run, instant))


def take_away(run: Run, instant: datetime) -> Report:
    """Remove the batch, if it is there, and ingest as of an instant."""
    (run.root / "batches" / "payments" / "one.parquet").unlink(missing_ok=True)
    return ingest(at(run, instant))


def held(run: Run, instant: datetime) -> dict[int, dict[str, Any]]:
    """The payments that had been made and had arrived as of an instant."""
    ingest(at(run, instant))
    path = run.paths.raw / "payments" / "one.parquet"
    rows = pq.read_table(path).to_pylist() if path.exists() else []
    return {row["id"]: row for row in rows if row["at"] <= instant and (row["row_late_at"] or row["at"]) <= instant}


def begin(root: Path) -> Run:
    run = feed_project(root)
    deliver_shops(run)
    bring(run, FIRST, {1: (3, 1.0), 2: (5, 2.0)})
    return run


def late_at(run: Run) -> dict[int, datetime | None]:
    """Payment → when it came late, in the raw rows as of the run's instant."""
    report = ingest(run)
    assert report["delivered"] == report["rows"]
    paths = (run.paths.raw / "payments").glob("*.parquet")
    return {row["id"]: row["row_late_at"] for path in paths for row in pq.read_table(path).to_pylist()}
