"""Payments that are made, come and are cleared at any time: what a source delivers of them to each daily run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

FIRST = datetime(2024, 1, 2, tzinfo=UTC)
"""As of when the feature pipeline runs first."""
RUNS = 4
"""On so many days it runs, as they begin."""


def after(days: int) -> datetime:
    return FIRST + timedelta(days=days)


@dataclass(frozen=True)
class Coming:
    """A payment: made so many hours after the day before the first run began, cleared so many hours later, first delivered to
    a run, as cleared so many runs later, and from another run on in another file."""

    made: int
    clearing: int
    run: int
    runs: int
    moves: int = RUNS

    @property
    def made_at(self) -> datetime:
        return after(-1) + timedelta(hours=self.made, minutes=30)

    def is_there(self, number: int) -> bool:
        return number >= self.run and self.made_at <= after(number)

    def cleared_at(self, number: int) -> datetime | None:
        """What is delivered to a run of when it was cleared."""
        cleared = self.made_at + timedelta(hours=self.clearing)
        return cleared if number >= self.run + self.runs and cleared <= after(number) else None

    def has_moved(self, number: int) -> bool:
        return number >= self.moves


COMING = st.builds(
    Coming,
    made=st.integers(0, 95),
    clearing=st.integers(0, 60),
    run=st.integers(0, 3),
    runs=st.integers(0, 3),
    moves=st.integers(0, 5),
)
