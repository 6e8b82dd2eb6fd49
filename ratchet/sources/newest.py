"""The newest instant up to which a source is completely delivered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pyarrow.compute as pc

from ratchet.core.clock import Period, local_midnight
from ratchet.core.errors import SourceError
from ratchet.sources.batches import Source, find
from ratchet.use_case.contract import Batch

if TYPE_CHECKING:
    from ratchet.project.run import Run


def newest(run: Run) -> datetime:
    """Up to when every table is complete, and never later than now. Raises SourceError if no row has a time.

    If no batch says so, they are complete up to the end of the local day of the latest row of any table: some have rows only
    rarely.
    """
    batches = _batches(run)
    found = _declared_by(run, batches) or _after_latest_row(run, batches)
    return min(found, run.clock.now())


def declared_newest(run: Run) -> datetime | None:
    """The same, without reading a row; None if no batch says up to when it is complete. Raises SourceError."""
    found = _declared_by(run, _batches(run))
    return min(found, run.clock.now()) if found else None


def _batches(run: Run) -> list[Batch]:
    """Everything that the source holds by now."""
    start = local_midnight(run.settings.windows.start, run.use_case.timezone)
    return [*find(Source.of(run, Period(start, run.clock.now()))).batches.values()]


def _declared_by(run: Run, batches: Sequence[Batch]) -> datetime | None:
    ends = [max(found) for table in run.use_case.tables if (found := [*_declared(batches, table.name)])]
    return min(ends, default=None)


def _declared(batches: Iterable[Batch], table: str) -> Iterator[datetime]:
    yield from (batch.complete_until for batch in batches if batch.table == table and batch.complete_until)


def _after_latest_row(run: Run, batches: Iterable[Batch]) -> datetime:
    """The end of the local day of the latest row; rows of the future do not count."""
    zone, now = run.use_case.timezone, run.clock.now()
    latest = max((instant for batch in batches for instant in _event_times(run, batch, now)), default=None)
    if latest is None:
        raise SourceError(
            "has no row with a time",
            subject=f"source {run.settings.source.name!r}",
            remedy="Deliver rows, or give --to",
        )
    day: date = latest.astimezone(ZoneInfo(zone)).date()
    return local_midnight(day + timedelta(days=1), zone)


def _event_times(run: Run, batch: Batch, now: datetime) -> Iterator[datetime]:
    """The latest event time of a batch that is not in the future, if it has any."""
    event_time = run.use_case.table(batch.table).event_time
    if event_time is None:
        return
    times = batch.read()[0][event_time]
    latest = pc.max(times.filter(pc.less_equal(times, now))).as_py()
    if latest is not None:
        yield latest
