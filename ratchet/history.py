"""Which version served when, and who wanted it: the promotion history that MLflow does not keep."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AwareDatetime

from ratchet.signing import Signed


class Entry(Signed):
    """One move of what serves; `number` is its place in the history, `previous` where a rollback leads from here."""

    number: int
    version: int
    previous: int | None
    digest: str
    by: str
    reason: str
    at: AwareDatetime


def trail(history: Sequence[Entry]) -> list[int]:
    """The way that led to the serving version, which is last."""
    steps: list[int] = []
    for entry in history:
        steps = advance(steps, entry.version)
    return steps


def advance(steps: Sequence[int], version: int) -> list[int]:
    """The trail after a move to `version`: one to the version before the last is a step back, not a step on."""
    return list(steps[:-1]) if version in steps[-2:-1] else [*steps, version]


def previous(history: Sequence[Entry], version: int) -> int | None:
    """Where a rollback will lead once `version` serves; None where nothing came before it."""
    before = advance(trail(history), version)[:-1]
    return before[-1] if before else None
