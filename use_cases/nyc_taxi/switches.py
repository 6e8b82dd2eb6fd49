"""What goes wrong with a delivery, switched on in the simulator's options. Without a switch, a month is delivered whole.

| option | its keys, with an example | what the simulator delivers |
| --- | --- | --- |
| `late` | `share: 0.02, after: 3d` | this share of trips comes that long after they ended |
| `corrections` | `share: 0.02, after: 10d` | this share seems too long and too dear for that long |
| `duplicates` | `share: 0.02, after: 1d` | this share is delivered again after that long |
| `outage` | `first: "2023-03-10", until: "2023-03-13"` | no trips of the local days from `first` up to `until`: a gap |
| | `delivered: "2023-03-20"` | up to this day, or for ever |
| `closed_zone` | `zone: 20, first: "2023-03-10"` | no trip begins or ends in the zone from that local day on |
| | `until: "2023-03-13"` | up to this day, or for ever |
| `schema_change` | `kind: new, first: "2023-03-01"` | a new column, in all months from that day's on |
| | `kind: retyped` | zones as text, and other codes as floats |
| | `kind: renamed` | a different header |
| | `kind: vanished` | no `trip_type`: these months are refused |

With any of the first four, what is delivered is a function of the period's end: a month holds the trips that had ended by then,
as they were delivered by then. When all has come, `late`, `corrections` and `outage` leave the trips of the city without them.
Use them with `history: false`: then ingest marks what came late, and keeps what was corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from ratchet.core.clock import Period, local_midnight
from ratchet.core.frozen import Frozen
from ratchet.core.lengths import Length
from ratchet.use_case.batch import Gap
from ratchet.use_case.contract import Array
from use_cases.nyc_taxi.tables import CODES, DROPOFF, Month
from use_cases.nyc_taxi.timezone import TIMEZONE

DELIVERED_AT = "delivered_at"
"""A column of simulated trips: the UTC instant at which each ended, and is delivered if nothing goes wrong."""
LONGEST_TRIP = timedelta(days=2)
TOO_LONG, TOO_MUCH = np.timedelta64(300, "s"), 10.0
"""How much longer and dearer a trip seems until it is corrected."""
_AFTERWARDS = 4  # a stream of random numbers of its own, so that a switch changes no trip


class Afterwards(Frozen):
    """A share of trips, and how long after they ended something happens to them."""

    share: float = Field(gt=0, le=0.5)
    after: Length

    @model_validator(mode="after")
    def _is_later(self) -> Self:
        if not timedelta(0) < self.after <= timedelta(days=365):
            raise ValueError("after must be 1s to 365d")
        return self


class Span(Frozen):
    """Local days from `first` up to, not including, `until`; None: for ever."""

    first: date
    until: date | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.until is not None and self.until <= self.first:
            raise ValueError("until must be after first")
        return self

    def has(self, day: date) -> bool:
        return self.first <= day and (self.until is None or day < self.until)

    def touches(self, month: Month) -> bool:
        return self.first < month.following.first and (self.until is None or month.first < self.until)


class ClosedZone(Span):
    """No trip begins or ends in `zone`."""

    zone: int = Field(ge=1, le=60)


class Outage(Span):
    """Trips that are missing up to the day `delivered`; None: for ever."""

    until: date
    delivered: date | None = None

    @model_validator(mode="after")
    def _is_delivered_after(self) -> Self:
        if self.delivered is not None and self.delivered < self.until:
            raise ValueError("delivered must not be before until")
        return self

    @property
    def period(self) -> Period:
        return Period.between(self.first, self.until, TIMEZONE)

    def lasts(self, instant: datetime) -> bool:
        """Whether the trips had not been delivered as of an instant."""
        return self.delivered is None or instant < local_midnight(self.delivered, TIMEZONE)


class SchemaChange(Frozen):
    """The columns of months are different from the one of `first` on."""

    kind: Literal["new", "retyped", "renamed", "vanished"]
    first: date


class Switches(Frozen):
    """The switches of the module's table; None is off."""

    late: Afterwards | None = None
    corrections: Afterwards | None = None
    duplicates: Afterwards | None = None
    outage: Outage | None = None
    closed_zone: ClosedZone | None = None
    schema_change: SchemaChange | None = None

    @property
    def _afterwards(self) -> list[Afterwards]:
        return [each for each in (self.late, self.corrections, self.duplicates) if each]

    @property
    def are_gradual(self) -> bool:
        """Whether what is delivered depends on the period's end."""
        return self.outage is not None or bool(self._afterwards)

    def of_month(self, month: Month, end: datetime) -> dict[str, Any]:
        """Everything that decides what a month holds as of `end`, besides the trips of the city."""
        last = month.end + LONGEST_TRIP + max((each.after for each in self._afterwards), default=timedelta(0))
        lasting = self.outage if self.outage and self.outage.lasts(end) else None
        spans = {"outage": lasting, "closed_zone": self.closed_zone}
        return {
            "until": min(end, last) if self.are_gradual else None,
            **self.model_dump(include={"late", "corrections", "duplicates"}),
            **{name: span.model_dump() for name, span in spans.items() if span and span.touches(month)},
            "columns": self._kind_of_columns(month),
        }

    def _kind_of_columns(self, month: Month) -> str | None:
        change = self.schema_change
        return change.kind if change and change.first < month.following.first else None

    def gaps(self, period: Period) -> list[Gap]:
        """The outage, once there are trips from after it, as long as it lasts."""
        outage = self.outage
        if outage is None or not outage.lasts(period.end):
            return []
        is_seen = period.start < outage.period.end < period.end
        return [Gap("trips", f"{outage.first} to {outage.until}", outage.period)] if is_seen else []

    def complete_until(self, end: datetime) -> datetime:
        """Up to when the trips are complete as of `end`, apart from those that come late and those of a gap."""
        outage = self.outage
        is_out = outage is not None and outage.lasts(end) and outage.period.start < end <= outage.period.end
        return outage.period.start if outage and is_out else end

    def delivered(self, trips: Mapping[str, Array], day: date, seed: int, end: datetime) -> dict[str, Array]:
        """The trips of a local day in the city → those that had been delivered by `end`, as they were delivered then."""
        if self.closed_zone and self.closed_zone.has(day):
            trips = _chosen(trips, ~_touches(trips, self.closed_zone.zone))
        if not self.are_gradual:
            return dict(trips)
        if self.outage and self.outage.has(day) and self.outage.lasts(end):
            return _chosen(trips, np.zeros(len(trips[DROPOFF]), bool))
        return self._as_of(trips, np.random.default_rng([seed, _AFTERWARDS, day.toordinal()]), end)

    def _as_of(self, trips: Mapping[str, Array], rng: np.random.Generator, end: datetime) -> dict[str, Array]:
        now = np.datetime64(end.replace(tzinfo=None), "us")
        is_late, is_wrong, is_repeated = (
            rng.random(len(trips[DROPOFF])) < (each.share if each else 0.0)
            for each in (self.late, self.corrections, self.duplicates)
        )
        ended, known = trips[DELIVERED_AT], trips[DELIVERED_AT] + is_wrong * TOO_LONG
        comes = known + is_late * _after(self.late)
        is_wrong &= now < ended + _after(self.corrections)
        seen = {
            **trips,
            DROPOFF: trips[DROPOFF] + is_wrong * TOO_LONG,
            "total_amount": trips["total_amount"] + is_wrong * TOO_MUCH,
        }
        again = _chosen(seen, np.asarray(is_repeated & (comes + _after(self.duplicates) <= now)))
        first = _chosen(seen, np.asarray(comes <= now))
        return {name: np.concatenate([values, again[name]]) for name, values in first.items()}

    def columns(self, delivered: pa.Table, month: Month) -> pa.Table:
        """A delivered month with its columns as they are by then."""
        kind = self._kind_of_columns(month)
        return _CHANGES[kind](delivered) if kind else delivered


def _touches(trips: Mapping[str, Array], zone: int) -> Array:
    return np.asarray((trips["PULocationID"] == zone) | (trips["DOLocationID"] == zone))


def _after(switch: Afterwards | None) -> np.timedelta64:
    return np.timedelta64(switch.after if switch else timedelta(0))


def _chosen(trips: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    return {name: values[rows] for name, values in trips.items()}


def _retyped(delivered: pa.Table) -> pa.Table:
    """The zones as text, the other codes as floats."""
    for place, field in enumerate(delivered.schema):
        if field.name in CODES:
            values = pc.cast(pc.cast(delivered.column(place), pa.float64()), pa.int64())
            kind = pa.string() if field.name.endswith("LocationID") else pa.float64()
            delivered = delivered.set_column(place, field.name, values.cast(kind))
    return delivered


_CHANGES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "new": lambda rows: rows.append_column("cbd_congestion_fee", pa.array(np.full(rows.num_rows, 0.75))),
    "retyped": _retyped,
    "renamed": lambda rows: rows.rename_columns({"PULocationID": "pulocationid"}),
    "vanished": lambda rows: rows.drop_columns(["trip_type"]),
}
