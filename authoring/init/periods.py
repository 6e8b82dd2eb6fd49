"""Choose the windows for training, early stopping, holdout and fresh scoring, by the times of rows and of their labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from ratchet.core.errors import SettingsError
from ratchet.core.settings import Windows

Days = npt.NDArray[Any]
"""datetime64[D]."""
DAY = np.timedelta64(1, "D")
FRESH, HOLDOUT, STOPPING = 0.95, 0.83, 0.88
"""Each period begins at this quantile of the usable rows before the next one: 70% train, 9% early stopping, 16% holdout."""
WEEK, LONG = np.timedelta64(7, "D"), np.timedelta64(70, "D")
"""If the file spans more than LONG, at least a whole WEEK is fresh."""
LEAST = 50
"""The fewest rows that a period needs."""
RAREST = 0.01
"""The share of rows, at each end of the time that a file spans, whose times may be typing errors."""
SNAPSHOT_DAYS = 100
MATURE = 0.99
"""The share of labels that are known when a request counts as mature."""


@dataclass(frozen=True)
class Chosen:
    """The local day on which each window begins, the `end` as of which they are divided, and how many rows each has.

    `maturity` is the time after a request within which nearly all labels become known. Rows count if their label was known in
    time. `holdout_requests` and `fresh_rows` also count rows without a label.
    """

    start: date
    early_stopping: date
    holdout: date
    fresh: date
    end: date
    train_rows: int
    stopping_rows: int
    holdout_rows: int
    holdout_days: int
    holdout_requests: int
    fresh_rows: int
    maturity: timedelta = timedelta(0)

    def windows(self) -> Windows:
        """The same windows as lengths."""
        return Windows(
            start=self.start,
            early_stopping=self.holdout - self.early_stopping,
            holdout=self.fresh - self.holdout,
            fresh=self.end - self.fresh,
            label_maturity=self.maturity,
        )


def from_times(asked: Days, known: Days, warm_up: timedelta, subject: str) -> Chosen:
    """Choose from the local days of the requests and the days when their labels were known (NaT if unknown).

    The fresh period ends with the newest request, even if its label is not known. Training begins after `warm_up`, when there
    is history to learn from. Days far from nearly all others are ignored: a typing error must not make a period of decades.
    Raises SettingsError if there are too few rows.
    """
    inside = ~np.isnat(asked) & ~is_far(asked)
    requests, is_labelled = asked[inside], inside & ~np.isnat(known)
    asked, known = asked[is_labelled], known[is_labelled]
    if len(asked) < 4 * LEAST:
        raise _too_few(subject, f"has only {len(asked)} rows with a time and a label")
    first, end = asked.min(), requests.max() + DAY
    start = first + np.timedelta64(warm_up.days, "D")
    usable = (asked >= start) & (known < end)
    fresh = _day(asked[usable], FRESH)
    fresh = min(fresh, end - WEEK) if end - first > LONG else fresh
    holdout = _day(asked[usable & (asked < fresh)], HOLDOUT)
    stopping = _day(asked[usable & (known < holdout)], STOPPING)
    judged = usable & (asked >= holdout) & (asked < fresh)
    fitted = usable & (known < holdout)
    train, early, rows = (
        int(each.sum()) for each in (fitted & (asked < stopping), fitted & (asked >= stopping), judged)
    )
    judged_requests = int(((requests >= holdout) & (requests < fresh)).sum())
    scored = int((requests >= fresh).sum())
    bounds = [start, stopping, holdout, fresh, end]
    if np.isnat(bounds).any() or min(train, early, rows) < LEAST or any(np.diff(bounds) < DAY):
        history = f", of which {warm_up.days} days are history for --entity" if warm_up else ""
        purpose = "to train, stop early and judge on rows whose labels were known"
        problem = f"spans {first} to {end - DAY}{history}: too little {purpose}"
        raise _too_few(subject, problem)
    one, two, three, four, five = (day.item() for day in bounds)
    judged_days = len(np.unique(asked[judged]))
    maturity = min(np.quantile(known[judged] - asked[judged], MATURE, method="higher").item(), five - four)
    return Chosen(one, two, three, four, five, train, early, rows, judged_days, judged_requests, scored, maturity)


def from_snapshot(snapshot: date, rows: int, subject: str) -> Chosen:
    """A hundred days up to the snapshot, over which the rows are spread evenly. Raises SettingsError."""
    if rows < 10 * LEAST:
        raise _too_few(subject, f"has only {rows} rows with a label")
    start, end = snapshot - timedelta(days=SNAPSHOT_DAYS - 1), snapshot + timedelta(days=1)
    stopping, holdout, fresh = (start + timedelta(days=day) for day in (70, 79, 95))
    train, early, judged, scored = (rows * days // SNAPSHOT_DAYS for days in (70, 9, 16, 5))
    return Chosen(start, stopping, holdout, fresh, end, train, early, judged, 16, judged, scored)


def is_far(days: Days) -> npt.NDArray[np.bool_]:
    """Which days or timestamps are far from nearly all others: farther than half of the time that these others span."""
    there = days[~np.isnat(days)]
    if not len(there):
        return np.zeros(len(days), bool)
    first, last = (_day(there, share) for share in (RAREST, 1 - RAREST))
    margin = (last - first) // 2 + DAY
    return np.asarray((days < first - margin) | (days > last + margin), dtype=bool)


def _day(days: Days, quantile: float) -> Any:
    if not len(days):
        return np.datetime64("NaT", "D")
    return np.sort(days)[int(quantile * (len(days) - 1))]


def _too_few(subject: str, problem: str) -> SettingsError:
    remedy = "Give a file with more rows or a longer time, or write use case and periods by hand"
    return SettingsError(problem, subject=subject, remedy=remedy)
