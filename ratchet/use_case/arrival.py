"""When a row can be used. What is delivered late, or computed on a schedule, reaches the features later than it was known.

Training must see what serving would have had. So each accepted row of a dated table has these instants:

- ARRIVED_AT: when the whole row was known and delivered. A label counts from then on.
- AVAILABLE_AT: from when on a feature may use the whole row. It is the first run of the feature pipeline's schedule that is not
  before ARRIVED_AT, but at least the first whole second after `known_at`.
- EARLY_AVAILABLE_AT: the same for the table's early columns, which are known from `event_time` on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from ratchet.core.clock import FIRST, Instants
from ratchet.core.schedule import first_ticks, latest_tick, longest_wait
from ratchet.use_case.columns import EARLY_LATE_AT, LATE_AT
from ratchet.use_case.contract import INSTANT, SourceTable
from ratchet.use_case.row_key import keyed

_SECOND = np.timedelta64(1, "s")


@dataclass(frozen=True)
class Delivery:
    """How rows reach the features: `lag` after they were known, and then by the runs of `schedule` (cron, UTC)."""

    lag: timedelta
    schedule: str

    @property
    def longest(self) -> timedelta:
        """The longest time from when a row is known until it is available, if it does not come late."""
        return self.lag + longest_wait(self.schedule, FIRST)

    def arrived(self, known: Instants, late: Instants) -> Instants:
        """When rows arrived: after the lag, or at the instant in `late` for those that came later than that (NaT: in time)."""
        in_time = known + np.timedelta64(self.lag)
        return np.where(late > in_time, late, in_time)

    def available(self, known: Instants, arrived: Instants) -> Instants:
        """The first whole second at which a feature may use rows that were known and arrived then."""
        just_after = known.astype("datetime64[s]").astype("datetime64[us]") + _SECOND
        return np.maximum(just_after, first_ticks(self.schedule, arrived))

    def seen_until(self, at: datetime) -> datetime:
        """The latest AVAILABLE_AT of the rows that a run as of `at` has seen. If it is a run of the schedule, it has seen what
        was known at that very instant, which counts from the next second on."""
        return at + _SECOND.item() if latest_tick(self.schedule, at) == at else at


def accepted_rows(table: SourceTable, rows: pa.Table, delivery: Delivery) -> pa.Table:
    """Rows without nulls in their key and event time, in the table's accepted schema.

    The columns LATE_AT and EARLY_LATE_AT, if they are there, say when a row came that was later than the delivery's lag.
    """
    found = keyed(table, rows)
    if not table.is_reference:
        for field, instants in zip(table.arrival_schema, _arrivals(table, rows, delivery), strict=True):
            found = found.append_column(field, pa.array(instants).cast(INSTANT))
    return found.cast(table.accepted_schema)


def _arrivals(table: SourceTable, rows: pa.Table, delivery: Delivery) -> Iterator[Instants]:
    """The columns of the table's arrival schema, in order."""
    known = _instants(rows, table.known_at or table.event_time)
    arrived = delivery.arrived(known, _instants(rows, LATE_AT))
    yield arrived
    yield delivery.available(known, arrived)
    if table.early:
        begun = _instants(rows, table.event_time)
        yield delivery.available(begun, delivery.arrived(begun, _instants(rows, EARLY_LATE_AT)))


def _instants(rows: pa.Table, name: str | None) -> Instants:
    """A column as datetime64[us]; NaT throughout if the rows do not have it."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, np.datetime64("NaT", "us"))
    return np.asarray(rows[name].cast(pa.timestamp("us")).to_numpy())
