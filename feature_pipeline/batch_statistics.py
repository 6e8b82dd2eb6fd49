"""Statistics of a batch, by which later batches of its table are checked.

They are kept with the batch's quarantine, so that a comparison with earlier batches reads none of their rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.clock import Instants, local_time
from ratchet.core.frozen import Frozen
from ratchet.use_case.contract import SourceTable

HALF_HOURS = 48
_TAILS = (0.01, 0.99)
_MOST_VALUES = 50
_WITHIN = (0.025, 0.975)
"""Quantiles of the event times between which a batch's days are counted: single rows lie anywhere."""
_MOST_OF_A_WEEKDAY = 2 / 3
_HALF_HOUR = 30 * 60 * 1_000_000  # in microseconds
_THURSDAY = 3  # the weekday of 1970-01-01


class Hours(Frozen):
    """The rows of each half-hour of the day. They lie in `spanned` half-hours on end, from half-hour `first` of a day on."""

    counts: tuple[int, ...]
    first: int
    spanned: int

    @property
    def covered(self) -> npt.NDArray[np.float64]:
        """How often each half-hour of the day is among those spanned: of a day that is cut off at noon, only the morning."""
        whole, rest = divmod(self.spanned, HALF_HOURS)
        return whole + np.roll(np.arange(HALF_HOURS) < rest, self.first).astype(np.float64)


class Times(Frozen):
    """The event times of a batch.

    `days` is how many days they span, at least 1, and `until` the last but 0.5%. `weekday` is the local weekday of most rows, 0
    for Monday, or None if they are of several. `local` and `utc` are the hours by both clocks.
    """

    days: float
    until: datetime
    weekday: int | None
    local: Hours
    utc: Hours


class Statistics(Frozen):
    """Statistics of rows. Columns map to the share of missing values, the 1% and 99% quantile of numbers, the distinct values
    of a text column that has few, and the share of values that are outside the range or the set of earlier batches."""

    rows: int
    times: Times | None = None
    nulls: Mapping[str, float] = {}
    ranges: Mapping[str, tuple[float, float]] = {}
    values: Mapping[str, tuple[str, ...]] = {}
    outside: Mapping[str, float] = {}

    @property
    def weekday(self) -> int | None:
        """The local weekday of most rows, if there is one."""
        return self.times.weekday if self.times else None


def statistics(table: SourceTable, timezone: str, rows: pa.Table, earlier: Sequence[Statistics] = ()) -> Statistics:
    """Statistics of some rows of a table. `outside` compares them with earlier batches."""
    if not rows.num_rows:
        return Statistics(rows=0)
    columns = {name: rows[name] for name in table.schema.names}
    ranges, values = usual_ranges(earlier), usual_values(earlier)
    outside = {
        **{name: _share(_beyond(columns[name], *ends)) for name, ends in ranges.items()},
        **{name: _share(_unknown(columns[name], known)) for name, known in values.items()},
    }
    return Statistics(
        rows=rows.num_rows,
        times=_times(rows[table.event_time], timezone) if table.event_time else None,
        nulls={name: _share(pc.is_null(columns[name], nan_is_null=True)) for name in _settled(table, rows)},
        ranges={name: ends for name, column in columns.items() if (ends := _range(column))},
        values={name: few for name, column in columns.items() if (few := _values(column))},
        outside={name: share for name, share in outside.items() if share is not None},
    )


def _settled(table: SourceTable, rows: pa.Table) -> list[str]:
    """The columns that every row should have by now: only the early ones while the outcomes of some rows are not known yet."""
    is_pending = table.known_at is not None and rows[table.known_at].null_count
    early = {*table.early, *table.key, table.event_time}
    return [name for name in table.schema.names if not is_pending or name in early]


def weekday_of(table: SourceTable, timezone: str, rows: pa.Table) -> int | None:
    """The local weekday of most of the rows, if there is one."""
    times = _times(rows[table.event_time], timezone) if table.event_time else None
    return times.weekday if times else None


def usual_ranges(earlier: Sequence[Statistics]) -> dict[str, tuple[float, float]]:
    """Column → the median of both ends of its ranges in earlier batches, so that a single bad batch decides nothing."""
    found = {name: [each.ranges[name] for each in earlier if name in each.ranges] for name in _named(earlier, "ranges")}
    return {name: (median(low for low, _ in ends), median(high for _, high in ends)) for name, ends in found.items()}


def usual_values(earlier: Sequence[Statistics]) -> dict[str, list[str]]:
    """Column → the values that it has in at least half of the earlier batches, if it has few in each of them."""
    columns = [name for name in _named(earlier, "values") if all(name in each.values for each in earlier)]
    counts = {name: Counter(value for each in earlier for value in each.values[name]) for name in columns}
    return {name: sorted(value for value, n in of.items() if 2 * n >= len(earlier)) for name, of in counts.items()}


def _named(earlier: Sequence[Statistics], kind: str) -> list[str]:
    return list(dict.fromkeys(name for each in earlier for name in getattr(each, kind)))


def _share(which: pa.ChunkedArray) -> float:
    """The share of true values among those that are not null; 0 if all are null."""
    return float(pc.mean(which).as_py() or 0.0)


def _beyond(column: pa.ChunkedArray, low: float, high: float) -> pa.ChunkedArray:
    numbers = _numbers(column)
    return pc.or_(pc.less(numbers, low), pc.greater(numbers, high))


def _unknown(column: pa.ChunkedArray, known: Sequence[str]) -> pa.ChunkedArray:
    present = column.drop_null()
    return pc.invert(pc.is_in(present, value_set=pa.array(known, present.type)))


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers = column.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(numbers), None, numbers)


def _range(column: pa.ChunkedArray) -> tuple[float, float] | None:
    """The 1% and 99% quantile of a column of numbers; None for other columns, and for one without a value."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    low, high = pc.quantile(_numbers(column), list(_TAILS), interpolation="nearest").to_pylist()
    return None if low is None else (low, high)


def _values(column: pa.ChunkedArray) -> tuple[str, ...]:
    """The distinct values of a text column; empty for other columns, and for one with too many."""
    if not pa.types.is_string(column.type):
        return ()
    values = pc.unique(column.drop_null())
    return tuple(sorted(values.to_pylist())) if len(values) <= _MOST_VALUES else ()


def _times(column: pa.ChunkedArray, timezone: str) -> Times | None:
    """None if no row has a time."""
    utc = np.asarray(column.drop_null().cast(pa.timestamp("us")).to_numpy())
    if not len(utc):
        return None
    local = local_time(utc, timezone)
    first, last, since, until = np.quantile(utc.astype(np.int64), [*_WITHIN, 0.005, 0.995], method="nearest")
    spanned = int(until - since) // _HALF_HOUR + 1
    span = (last - first) / (_WITHIN[1] - _WITHIN[0])
    return Times(
        days=max(1.0, round(float(span) / 86_400e6, 3)),
        until=datetime.fromtimestamp(int(until) // 1_000_000, UTC),
        weekday=_weekday(local),
        local=_hours(local, local_time(np.array([since], "datetime64[us]"), timezone), spanned),
        utc=_hours(utc, np.array([since], "datetime64[us]"), spanned),
    )


def _weekday(local: Instants) -> int | None:
    counts = np.bincount((local.astype("datetime64[D]").astype(np.int64) + _THURSDAY) % 7, minlength=7)
    return int(counts.argmax()) if counts.max() >= _MOST_OF_A_WEEKDAY * len(local) else None


def _hours(instants: Instants, since: Instants, spanned: int) -> Hours:
    counts = np.bincount(_half_hours(instants), minlength=HALF_HOURS)
    return Hours(counts=tuple(counts.tolist()), first=int(_half_hours(since)[0]), spanned=spanned)


def _half_hours(instants: Instants) -> npt.NDArray[np.int64]:
    of_day: npt.NDArray[np.int64] = (instants - instants.astype("datetime64[D]")).astype(np.int64) // _HALF_HOUR
    return of_day
