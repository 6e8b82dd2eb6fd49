"""How old the features of each view are in the online store, and until when they may be used.

The age of a view is the time since the newest of its rows that held when the store was written. Rows of future times, which
were written with it, tell nothing new: they only move the time from which every request would find features that are too old.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import AwareDatetime

from ratchet.core.frozen import Frozen
from ratchet.storage.files import read_json
from ratchet.use_case.contract import Array, View

FRESHNESS = "freshness"
"""The entry of materialize's report."""


class Freshness(Frozen):
    """What the online store holds of a view. `newest` is the event_timestamp of the newest row that held when it was written;
    None if it has none. Up to `fresh_until`, a request of some key finds features; None if the view has no `max_age`."""

    newest: AwareDatetime | None
    max_age_seconds: float | None
    fresh_until: AwareDatetime | None

    def age(self, at: datetime) -> timedelta | None:
        """The age at an instant; None without a row."""
        return None if self.newest is None else max(at - self.newest, timedelta(0))

    def is_fresh(self, at: datetime) -> bool:
        """Whether the view has rows, and not all of them are too old at an instant."""
        return self.newest is not None and (self.fresh_until is None or at <= self.fresh_until)

    def as_of(self, at: datetime) -> dict[str, Any]:
        """This, with the age and the verdict at an instant, as values for JSON."""
        age = self.age(at)
        return {
            **self.model_dump(mode="json"),
            "age_seconds": None if age is None else age.total_seconds(),
            "fresh": self.is_fresh(at),
        }


def freshness_of(view: View, newest: datetime | None, later: Array) -> Freshness:
    """The freshness of a view whose newest row holds since `newest`; `later` are the event_timestamps of the following rows."""
    limit = view.max_age
    return Freshness(
        newest=newest,
        max_age_seconds=limit.total_seconds() if limit else None,
        fresh_until=_last_without_gap(newest, later, limit) + limit if newest and limit else None,
    )


def _last_without_gap(newest: datetime, later: Array, limit: timedelta) -> datetime:
    """The last row of which none before it was too old when the next one began."""
    following: list[datetime] = np.unique(later).astype("datetime64[us]").tolist()
    times = [newest, *(time.replace(tzinfo=UTC) for time in following)]
    gap = (first for first, second in pairwise(times) if second - first > limit)
    return next(gap, times[-1])


def read_freshness(materialized: Path) -> Mapping[str, Freshness]:
    """View → its freshness, as materialize wrote it there. Empty if the store was never written, or is being written."""
    report = read_json(materialized)["report"] if materialized.exists() else {}
    return {name: _read(found) for name, found in report.get(FRESHNESS, {}).items()}


def _read(found: Mapping[str, Any]) -> Freshness:
    return Freshness.model_validate({name: found[name] for name in Freshness.model_fields})
