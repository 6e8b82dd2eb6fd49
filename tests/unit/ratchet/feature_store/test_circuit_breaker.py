"""An unavailable store is left alone for a while, and then tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ratchet.core.errors import StoreError, StoreUnavailableError
from ratchet.feature_store.circuit_breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, CircuitBreaker
from ratchet.feature_store.stored_rows import HeldRows

AWAY = StoreUnavailableError("does not answer", subject="online store", remedy="Start it")


class Store:
    """A store that fails when it is told to, and a clock that stands still."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 100.0
        self.error: Exception | None = None
        self.breaker = CircuitBreaker(self, lambda: self.now)

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> Sequence[HeldRows | None]:
        self.asked += 1
        if self.error:
            raise self.error
        return [None] * len(wanted)

    def close(self) -> None:
        pass

    def fails(self, times: int = 1) -> int:
        """How often it was asked for so many reads, each of which failed."""
        before = self.asked
        for _ in range(times):
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                asyncio.run(self.breaker.read([(0, b"")]))
        return self.asked - before

    def answers(self) -> bool:
        return [None] == asyncio.run(self.breaker.read([(0, b"")]))


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_store_that_answers_is_always_asked(store: Store) -> None:
    assert all(store.answers() for _ in range(10))
    assert 10 == store.asked


def test_after_some_failures_it_is_not_asked(store: Store) -> None:
    """Until the pause is over; then one read tries."""
    store.error = AWAY
    assert (FAILURES - 1, "") == (store.fails(FAILURES - 1), store.breaker.problem)
    assert 1 == store.fails(10)
    assert "does not answer" in store.breaker.problem
    store.now += FIRST_PAUSE
    assert 1 == store.fails(10)


def test_it_is_asked_again_when_it_answers(store: Store) -> None:
    store.error = AWAY
    store.fails(FAILURES)
    store.error, store.now = None, store.now + FIRST_PAUSE
    assert all(store.answers() for _ in range(3))
    assert not store.breaker.is_open
    store.error = AWAY
    assert FAILURES == store.fails(10)


def test_single_failures_are_nothing(store: Store) -> None:
    """An answer between them begins the count anew."""
    for _ in range(10):
        store.error = AWAY
        assert FAILURES - 1 == store.fails(FAILURES - 1)
        store.error = None
        assert store.answers()


def test_pauses_grow_up_to_a_bound(store: Store) -> None:
    store.error = AWAY
    store.fails(FAILURES)
    pauses = []
    for _ in range(30):
        before = store.now
        while not store.fails():
            store.now += FIRST_PAUSE / 2
        pauses.append(store.now - before)
    assert pauses == sorted(pauses)
    assert FIRST_PAUSE == pauses[0]
    assert LONGEST_PAUSE == pauses[-1]


def test_other_errors_are_not_about_the_store(store: Store) -> None:
    """They pass, and count for nothing."""
    store.error = StoreError("holds nonsense", subject="online store", remedy="Write it again")
    for _ in range(FAILURES + 1):
        with pytest.raises(StoreError, match="nonsense"):
            asyncio.run(store.breaker.read([]))
    assert FAILURES + 1 == store.asked
