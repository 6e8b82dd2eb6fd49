"""A store that fails again and again is left alone for a while, so that no request waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store.stored_rows import HeldRows, RowReader

FAILURES = 3
"""Reads that fail one after the other until the circuit opens."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds. Each further failure doubles the pause."""


class CircuitBreaker:
    """A reader that does not ask an unavailable store until a pause is over. Then one read tries, and others still fail."""

    def __init__(self, reader: RowReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._clock = reader, clock
        self._failures = 0
        self._closed_from = 0.0
        self._error = StoreUnavailableError("", subject="", remedy="")

    @property
    def is_open(self) -> bool:
        """Whether the store is left alone."""
        return self._failures >= FAILURES

    @property
    def problem(self) -> str:
        """Why the store is left alone; empty if it is not."""
        return str(self._error) if self.is_open else ""

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> Sequence[HeldRows | None]:
        """As the reader does. Raises the last StoreUnavailableError again while the circuit is open."""
        if self.is_open:
            if self._clock() < self._closed_from:
                raise self._error
            self._pause()  # for all other reads, while this one tries
        try:
            rows = await self._reader.read(wanted)
        except StoreUnavailableError as error:
            self._failures, self._error = self._failures + 1, error
            self._pause()
            raise
        self._failures = 0
        return rows

    def close(self) -> None:
        self._reader.close()

    def _pause(self) -> None:
        doubled = FIRST_PAUSE * 2.0 ** min(self._failures - FAILURES, 10)
        self._closed_from = self._clock() + min(doubled, LONGEST_PAUSE)
