"""The newest instant up to which a source is completely delivered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import Instants, Period, local_midnight
from ratchet.core.errors import SourceError, UnavailableError
from ratchet.sources.asked import Asked
from ratchet.sources.batches import Source, find, read
from ratchet.use_case.batch import Batch

if TYPE_CHECKING:
    from ratchet.project.run import Run

_FEW, _FEW_A_DAY = 0.005, 0.1
"""The largest share of a table's rows that may be strays; and of the rows of a usual day, if that is more than one row."""
_LONG, _LONGER = timedelta(days=7), 10
"""A stray is later than the other rows by more than this, and so many times more than is usual between two days."""
Batches = dict[str, Batch]
"""`{table}/{name}` → batch."""
Problem = Callable[[str, Batch], SourceError | None]
"""A batch and its name in Batches → why it cannot be read; None if it can."""


def newest(run: Run) -> datetime:
    """Up to when every table is complete, and never later than now.

    A batch that cannot be read completes nothing, so the latest one of each table is read, unless ingest did so before. If no
    batch says up to when it is complete, they are up to the end of the local day of the latest row of any table: some have rows
    only rarely. A few rows long after all others of their table do not count: their date is probably a mistake.

    Raises SourceError if no row has a time, or if a table has batches that say it and none of them can be read.
    """
    batches, asked = _batches(run), Asked.of(run)

    def problem(unit: str, batch: Batch) -> SourceError | None:
        return None if asked and asked.was_read(unit, batch) else _problem(run, batch)

    found = _declared_by(run, batches, problem) or _after_latest_row(run, batches.values())
    return min(found, run.clock.now())


def declared_newest(run: Run) -> datetime | None:
    """The same, without reading a row: only a batch that ingest could not read counts as one that cannot be read.

    None if no batch says up to when it is complete. Raises SourceError as above.
    """
    asked = Asked.of(run)

    def problem(unit: str, batch: Batch) -> SourceError | None:
        is_rejected = asked is not None and asked.was_rejected(unit, batch)
        return SourceError("was rejected", subject=f"batch {unit}", remedy="See ingest.json") if is_rejected else None

    found = _declared_by(run, _batches(run), problem)
    return min(found, run.clock.now()) if found else None


def _batches(run: Run) -> Batches:
    """Everything that the source holds by now."""
    start = local_midnight(run.settings.windows.start, run.use_case.timezone)
    return {**find(Source.of(run, Period(start, run.clock.now()))).batches}


def _problem(run: Run, batch: Batch) -> SourceError | None:
    """Why a batch cannot be read, if it cannot. Raises SourceError if its source does not answer."""
    try:
        read(run.use_case, batch)
    except UnavailableError:
        raise
    except SourceError as error:
        return error
    return None


def _declared_by(run: Run, batches: Batches, problem: Problem) -> datetime | None:
    """The earliest of what the tables declare, each by its latest readable batch; None if none does. Raises SourceError."""
    latest = (_latest(batches, table.name, problem) for table in run.use_case.tables)
    return min(filter(None, latest), default=None)


def _latest(batches: Batches, table: str, problem: Problem) -> datetime | None:
    ends = {unit: batch.complete_until for unit, batch in batches.items() if batch.table == table}
    error: SourceError | None = None
    for end, unit in sorted(((end, unit) for unit, end in ends.items() if end), reverse=True):
        error = problem(unit, batches[unit])
        if error is None:
            return end
    if error:
        raise error
    return None


def _after_latest_row(run: Run, batches: Iterable[Batch]) -> datetime:
    """The end of the local day of the latest row; rows of the future, and batches that cannot be read, do not count."""
    times: dict[str, list[Instants]] = defaultdict(list)
    problems: list[SourceError] = []
    for batch in batches:
        try:
            past = _past_times(run, batch)
        except UnavailableError:
            raise
        except SourceError as error:
            problems.append(error)
        else:
            times[batch.table].append(past)
    found = [last for table in times.values() for last in _last(np.concatenate(table))]
    if not found:
        raise next(iter(problems), _no_time(run))
    zone = run.use_case.timezone
    day: date = max(found).astimezone(ZoneInfo(zone)).date()
    return local_midnight(day + timedelta(days=1), zone)


def _no_time(run: Run) -> SourceError:
    return SourceError(
        "has no row with a time",
        subject=f"source {run.settings.source.name!r}",
        remedy="Deliver rows, or give --to",
    )


def _past_times(run: Run, batch: Batch) -> Instants:
    """The event times of a batch that are not in the future. Raises SourceError if it cannot be read."""
    event_time = run.use_case.table(batch.table).event_time
    if event_time is None:
        return np.empty(0, "datetime64[us]")
    times = read(run.use_case, batch)[event_time]
    past: Instants = times.filter(pc.less_equal(times, run.clock.now())).cast(pa.timestamp("us")).to_numpy()
    return past


def _last(times: Instants) -> Iterator[datetime]:
    """The last of a table's times, if it has any, without those of rows with a mistaken date."""
    if len(times):
        ordered = np.sort(times)
        yield ordered[_without_strays(ordered) - 1].astype(datetime).replace(tzinfo=UTC)


def _without_strays(times: Instants) -> int:
    """How many of the times, which are in order, are not those of rows with a mistaken date: few, and long after all others."""
    days, first, rows = np.unique(times.astype("datetime64[D]"), return_index=True, return_counts=True)
    gaps, few = np.diff(days).astype(int), max(1.0, _FEW_A_DAY * float(np.median(rows)))
    last = len(days) - 1
    while last > 1 and rows[last] <= min(few, _FEW * rows[: last + 1].sum()):
        if gaps[last - 1] <= max(_LONG.days, _LONGER * np.median(gaps[: last - 1])):
            break
        last -= 1
    return int(first[last] + rows[last])
