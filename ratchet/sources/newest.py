"""The newest instant up to which a source is completely delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pyarrow.compute as pc

from ratchet.core.clock import Period, local_midnight
from ratchet.core.errors import SourceError, UnavailableError
from ratchet.sources.asked import Asked
from ratchet.sources.batches import Source, find, read
from ratchet.use_case.batch import Batch

if TYPE_CHECKING:
    from ratchet.project.run import Run

Batches = dict[str, Batch]
"""`{table}/{name}` → batch."""


def newest(run: Run) -> datetime:
    """Up to when every table is complete, and never later than now.

    A batch that cannot be read completes nothing, so the latest one of each table is read, unless ingest did so before. If no
    batch says up to when it is complete, they are up to the end of the local day of the latest row of any table: some have rows
    only rarely. Raises SourceError if no row has a time, or if a table has batches that say it and none of them can be read.
    """
    batches, asked = _batches(run), Asked.of(run)

    def is_readable(unit: str, batch: Batch) -> bool:
        return (asked is not None and asked.was_read(unit, batch)) or _can_read(run, batch)

    found = _declared_by(run, batches, is_readable) or _after_latest_row(run, batches.values())
    return min(found, run.clock.now())


def declared_newest(run: Run) -> datetime | None:
    """The same, without reading a row: only a batch that ingest could not read counts as one that cannot be read.

    None if no batch says up to when it is complete. Raises SourceError as above.
    """
    asked = Asked.of(run)
    found = _declared_by(run, _batches(run), lambda unit, batch: not (asked and asked.was_rejected(unit, batch)))
    return min(found, run.clock.now()) if found else None


def _batches(run: Run) -> Batches:
    """Everything that the source holds by now."""
    start = local_midnight(run.settings.windows.start, run.use_case.timezone)
    return {**find(Source.of(run, Period(start, run.clock.now()))).batches}


def _can_read(run: Run, batch: Batch) -> bool:
    """Whether a batch can be read. Raises SourceError if its source does not answer."""
    try:
        read(run.use_case, batch)
    except UnavailableError:
        raise
    except SourceError:
        return False
    return True


def _declared_by(run: Run, batches: Batches, is_readable: Callable[[str, Batch], bool]) -> datetime | None:
    """The earliest of what the tables declare, each by its latest readable batch; None if none does. Raises SourceError."""
    latest = (_latest(batches, table.name, is_readable) for table in run.use_case.tables)
    return min(filter(None, latest), default=None)


def _latest(batches: Batches, table: str, is_readable: Callable[[str, Batch], bool]) -> datetime | None:
    ends = {unit: batch.complete_until for unit, batch in batches.items() if batch.table == table}
    declared = sorted((end, unit) for unit, end in ends.items() if end)
    found = next((end for end, unit in reversed(declared) if is_readable(unit, batches[unit])), None)
    if declared and found is None:
        raise SourceError(
            "has no batch that can be read, so nobody knows up to when it is complete",
            subject=f"table {table!r}",
            remedy=f"Deliver {declared[-1][1]} again, or give --to",
        )
    return found


def _after_latest_row(run: Run, batches: Iterable[Batch]) -> datetime:
    """The end of the local day of the latest row; rows of the future, and batches that cannot be read, do not count."""
    zone, now = run.use_case.timezone, run.clock.now()
    found: list[datetime] = []
    problems: list[SourceError] = []
    for batch in batches:
        try:
            found += _latest_event(run, batch, now)
        except UnavailableError:
            raise
        except SourceError as error:
            problems.append(error)
    if not found:
        raise next(iter(problems), _no_time(run))
    day: date = max(found).astimezone(ZoneInfo(zone)).date()
    return local_midnight(day + timedelta(days=1), zone)


def _no_time(run: Run) -> SourceError:
    return SourceError(
        "has no row with a time",
        subject=f"source {run.settings.source.name!r}",
        remedy="Deliver rows, or give --to",
    )


def _latest_event(run: Run, batch: Batch, now: datetime) -> Iterator[datetime]:
    """The latest event time of a batch that is not in the future, if it has any. Raises SourceError if it cannot be read."""
    event_time = run.use_case.table(batch.table).event_time
    if event_time is None:
        return
    times = read(run.use_case, batch)[event_time]
    latest = pc.max(times.filter(pc.less_equal(times, now))).as_py()
    if latest is not None:
        yield latest
