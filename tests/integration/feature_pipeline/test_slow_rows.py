"""Rows that are known much later than a view expects: they count from then on, however many days are computed together."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from feature_pipeline.featurize import featurize
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from ratchet.storage.partitions import files
from ratchet.use_case.contract import Lookup
from ratchet.use_case.windows import trailing
from tests.support import parcels
from tests.support.accepted import accept
from tests.support.killing import contents
from tests.support.parcels import END, depot_rows, parcel_rows, parcels_project
from tests.support.variants import with_use_case
from tests.support.windows import at

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LATELY = trailing(
    "arrived_lately",
    ("sender",),
    parcels.use_case.table("parcels"),
    tile="1h",
    windows=("6h",),
    delay="1h",  # most parcels take longer, up to two days
    sums={"n": 1},
)


def project(root: Path) -> Run:
    run = with_use_case(
        parcels_project(root), views=(LATELY,), lookups=(Lookup("arrived_lately", {"sender": "sender"}),)
    )
    days = {("parcels", f"day-{day:02d}"): parcel_rows(day) for day in range(36)}
    accept(run, {("depots", "depots"): depot_rows(), **days})
    return run


def test_days_that_are_computed_one_by_one_are_those_computed_at_once(tmp_path: Path) -> None:
    """To the byte; and the counts are those of a loop over all parcels."""
    once, daily = project(tmp_path / "once"), project(tmp_path / "daily")
    featurize(at(once, END))
    for days in range(12, -1, -1):
        featurize(at(daily, END - days * DAY))
    assert contents(once.paths.features) == contents(daily.paths.features)
    assert 200 < sum(counts(once).values())
    for (sender, time), count in counts(once).items():
        assert arrived(sender, time) == count


def counts(run: Run) -> Counter[tuple[int, datetime]]:
    """Sender and instant → how many parcels of the sender arrived lately, as the view has it."""
    folder = run.paths.features / "views" / service_spec(run.use_case).views["arrived_lately"]
    rows = [row for path in files(folder) for row in pq.read_table(path, partitioning=None).to_pylist()]
    return Counter({(row["sender"], row["event_timestamp"]): row["n_6h"] for row in rows})


def arrived(sender: int, time: datetime) -> int:
    """The parcels of a sender whose hour of arrival ended within the six hours up to an instant."""
    ends = [
        row["arrived_at"].replace(minute=0, second=0, microsecond=0) + HOUR
        for day in range(36)
        for row in parcel_rows(day).to_pylist()
        if row["sender"] == sender
    ]
    return sum(end <= time < end + 6 * HOUR for end in ends)
