"""The windows that a test's project has, given by the local days on which they begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from ratchet.core.clock import local_midnight
from ratchet.core.settings import Windows
from ratchet.project.as_of import AsOf
from ratchet.project.run import Run

Days = tuple[date, date, date, date, date]
"""The local days on which history, early stopping, holdout and fresh begin, and the day as of which that is so."""


def windows(days: Days) -> Windows:
    """The windows as lengths."""
    start, early_stopping, holdout, fresh, end = days
    return Windows(start=start, early_stopping=holdout - early_stopping, holdout=fresh - holdout, fresh=end - fresh)


def as_of(day: date, timezone: str) -> AsOf:
    """Every pipeline stands where a local day begins."""
    return AsOf.at(local_midnight(day, timezone))


def with_days(run: Run, days: Days) -> Run:
    """The run with other windows."""
    changed = run.with_settings(windows=windows(days))
    return replace(changed, instants=as_of(days[-1], run.use_case.timezone))


def with_end(run: Run, end: date) -> Run:
    """The run as of the beginning of another local day, with the same windows."""
    return at(run, local_midnight(end, run.use_case.timezone))


def at(run: Run, instant: datetime) -> Run:
    """The run as of another instant."""
    return replace(run, instants=AsOf.at(instant))
