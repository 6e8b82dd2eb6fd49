"""Features of online requests: the rows of the online store, in the columns that `offline_reads.historical` adds.

A request is on one of three rungs. On the first, everything is as training knew it. On the second, features are used that are
older than they should be, or newer than the request, by no more than a tolerance. On the third they cannot be used at all, and
the request should be answered by a model that needs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from ratchet.core.errors import StoreUnavailableError
from ratchet.core.frozen import Frozen
from ratchet.feature_store.circuit_breaker import CircuitBreaker
from ratchet.feature_store.stored_rows import HeldRows, RowReader, StoredView, Value, key_writer
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import Array

NO_KEY, MISSING, STALE, NEWER, UNAVAILABLE = ABSENCES = ("no key", "missing", "stale", "newer", "unavailable")
"""Why a lookup finds no features: the request has no key; the store holds no row of the key, or only one that is older than the
view's max_age, or only one that is newer than the request; or the store cannot be read."""
FRESH, TOLERATED, UNUSABLE = 0, 1, 2
"""The rungs."""
SECOND = 1_000_000
"""Microseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = int(np.iinfo(np.int64).min)
"""NumPy's NaT."""


class StoredLookup(Frozen):
    """How a request finds its row: the place of the view, the request columns with its keys, in the view's order, and the
    prefix of its features."""

    prefix: str
    view: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The features of requests, with an entry for each request.

    `rows` are the values of `features`, in their order; `texts` are the places of those that are text. For each of `lookups`,
    `since` says from when on its row holds (microseconds since 1970), or is None, and `absences` says why there is none (one of
    ABSENCES), or is None.
    """

    features: Sequence[str]
    texts: Sequence[int]
    lookups: Sequence[str]
    rows: Sequence[Sequence[Value]]
    since: Sequence[Sequence[int | None]]
    absences: Sequence[Sequence[str | None]]
    rungs: Sequence[int]

    @cached_property
    def columns(self) -> Mapping[str, Array]:
        """The columns that `historical` adds: texts as objects with None, other features as float64 with NaN, all of them in
        one array; instants as datetime64[us]."""
        if not self.lookups:
            return {}
        texts = {place: np.array([row[place] for row in self.rows], object) for place in self.texts}
        numbers = self.rows
        if texts:
            numbers = [[None if place in texts else value for place, value in enumerate(row)] for row in self.rows]
        columns: dict[str, Array] = dict(zip(self.features, np.array(numbers, np.float64).T, strict=True))
        for place, column in texts.items():
            columns[self.features[place]] = column
        instants = np.array([[_NEVER if each is None else each for each in row] for row in self.since], np.int64)
        times = [f"{prefix}__{EVENT_TIMESTAMP}" for prefix in self.lookups]
        columns.update(zip(times, instants.view("datetime64[us]").T, strict=True))
        return columns


class OnlineFeatures:
    """Finds the row of each lookup that holds at a request's own time.

    This is what the point-in-time join finds if nothing new became known since the store was written.
    """

    def __init__(
        self, views: Sequence[StoredView], lookups: Sequence[StoredLookup], reader: RowReader, tolerance: timedelta
    ) -> None:
        self.problem = ""
        """Why the store must not be used; empty if it may."""
        self._reader = CircuitBreaker(reader)
        self._lookups = [_LookupReader(lookup, views[lookup.view], micros(tolerance)) for lookup in lookups]
        self._prefixes = [lookup.prefix for lookup in lookups]
        self._features = [name for lookup in self._lookups for name in lookup.features]
        self._texts = [place for place, is_text in enumerate(_are_texts(views, lookups)) if is_text]

    @property
    def unreadable(self) -> str:
        """Why the store is left alone after reads that failed; empty if it is not."""
        return self._reader.problem

    def close(self) -> None:
        """Close the connection to the store. The next read opens another one."""
        self._reader.close()

    def note_freshness(self, fresh_until: Sequence[int | None]) -> None:
        """Say for each view until when it has features that are not too old, in microseconds since 1970; None if for ever."""
        for lookup in self._lookups:
            lookup.fresh_until = fresh_until[lookup.view]

    async def read(self, requests: Mapping[str, Sequence[Any]], times: Sequence[int]) -> Found:
        """The features of requests: their fields and constants as columns of plain values, and their times in microseconds
        since 1970. Raises StoreUnavailableError."""
        if self.problem:
            raise StoreUnavailableError(self.problem, subject="its features", remedy="Until then, they are not used")
        keys = [[lookup.key(requests, row) for lookup in self._lookups] for row in range(len(times))]
        views = [lookup.view for lookup in self._lookups]
        wanted = [(view, key) for own in keys for view, key in zip(views, own, strict=True) if key]
        rows = iter(await self._reader.read(wanted) if wanted else ())
        return self._found(
            [
                [lookup.held(key, rows, time) for lookup, key in zip(self._lookups, own, strict=True)]
                for own, time in zip(keys, times, strict=True)
            ]
        )

    def unavailable(self, requests: int) -> Found:
        """What is known of requests while the store cannot be read."""
        return self._found([[lookup.absent(UNAVAILABLE, UNUSABLE) for lookup in self._lookups]] * requests)

    def _found(self, held: Sequence[Sequence[_Held]]) -> Found:
        rows: list[list[Value]] = [[value for each in row for value in each[1]] for row in held]
        return Found(
            self._features,
            self._texts,
            self._prefixes,
            rows,
            [[each[0] for each in row] for row in held],
            [[each[2] for each in row] for row in held],
            [max((each[3] for each in row), default=FRESH) for row in held],
        )


_Held = tuple[int | None, Sequence[Value], str | None, int]
"""What a lookup found for a request: since when its row holds, the row's features, why there is none, and the rung."""


def _are_texts(views: Sequence[StoredView], lookups: Sequence[StoredLookup]) -> Iterator[bool]:
    for lookup in lookups:
        yield from (name in views[lookup.view].texts for name in views[lookup.view].features)


class _LookupReader:
    """The keys of a lookup, and what its rows mean for a request."""

    def __init__(self, lookup: StoredLookup, view: StoredView, tolerance: int) -> None:
        self.view = lookup.view
        self.features = [f"{lookup.prefix}__{name}" for name in view.features]
        self.fresh_until: int | None = None
        self._columns, self._write = lookup.columns, key_writer(view.keys)
        self._max_age, self._tolerance = view.max_age_micros, tolerance
        self._nothing = (None,) * len(view.features)

    def key(self, requests: Mapping[str, Sequence[Any]], row: int) -> bytes | None:
        """The key of a request as Feast stores it; None if a part of it is missing."""
        key = [requests[column][row] for column in self._columns]
        return None if None in key else self._write(key)

    def held(self, key: bytes | None, rows: Iterator[HeldRows | None], time: int) -> _Held:
        """The row that holds for a request, or why none does. `rows` are those of all requests with a key."""
        rung = FRESH if self.fresh_until is None or time <= self.fresh_until else self._rung(time)
        if key is None:
            return self.absent(NO_KEY, rung)
        if (found := next(rows)) is None:
            return self.absent(MISSING, rung)
        second, values = found.at(time // SECOND)
        since = second * SECOND
        if since > time:
            is_near = since - time <= self._tolerance
            return (since, values, None, max(rung, TOLERATED)) if is_near else self.absent(NEWER, UNUSABLE)
        limit = self._max_age and self._max_age + (self._tolerance if rung == TOLERATED else 0)
        return self.absent(STALE, rung) if limit and time - since > limit else (since, values, None, rung)

    def absent(self, absence: str, rung: int) -> _Held:
        return None, self._nothing, absence, rung

    def _rung(self, time: int) -> int:
        """The rung of a request because of the age of the view as a whole. A single key may well be old."""
        return TOLERATED if self.fresh_until is None or time <= self.fresh_until + self._tolerance else UNUSABLE


def micros(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def micros_of(instant: datetime) -> int:
    """An instant in microseconds since 1970."""
    return micros(instant - _EPOCH)
