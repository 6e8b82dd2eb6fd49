"""Which row a request gets, why it gets none, and on which rung it is therefore."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ratchet.feature_store.online_features import (
    FRESH,
    SECOND,
    TOLERATED,
    UNUSABLE,
    Found,
    OnlineFeatures,
    StoredLookup,
)
from ratchet.feature_store.stored_rows import HeldRows, StoredView

HOUR = 3600
VIEW = StoredView(
    name="visits_1a",
    keys={"patient": "string"},
    features=("visits", "last"),
    texts=frozenset({"last"}),
    max_age_micros=HOUR * SECOND,
)
NOW, MINUTE = 1_700_000_000, 60


class Rows:
    """A store of patients' rows."""

    def __init__(self, **rows: HeldRows) -> None:
        self.rows = {name.encode(): held for name, held in rows.items()}

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        return [next((held for name, held in self.rows.items() if key.endswith(name)), None) for _, key in wanted]

    def close(self) -> None:
        pass


def column(entries: Sequence[Sequence[Any]]) -> list[Any]:
    """That of the only lookup."""
    return [entry for (entry,) in entries]


def since(seconds: int, upcoming: str | None = None) -> HeldRows:
    return HeldRows(seconds, [3, "knee"], upcoming)


def read(patients: Sequence[str | None], at: Sequence[int], fresh_until: int | None = None, **rows: HeldRows) -> Found:
    """What requests of patients find, with a tolerance of five minutes."""
    lookups = [StoredLookup(prefix="visits", view=0, columns=("patient",))]
    features = OnlineFeatures([VIEW], lookups, Rows(**rows), timedelta(minutes=5))
    features.note_freshness([fresh_until and fresh_until * SECOND])
    return asyncio.run(features.read({"patient": patients}, [each * SECOND for each in at]))


@pytest.mark.parametrize(
    ("held", "absence", "rung"),
    [
        (NOW, None, FRESH),
        (NOW - HOUR, None, FRESH),
        (NOW - HOUR - 1, "stale", FRESH),
        (NOW + 5 * MINUTE, None, TOLERATED),
        (NOW + 5 * MINUTE + 1, "newer", UNUSABLE),
    ],
)
def test_a_row_holds_or_not(held: int, absence: str | None, rung: int) -> None:
    """A single key whose row is too old is no fault: training had nothing for it either. One that is newer may be."""
    found = read(["ann"], [NOW], ann=since(held))
    assert ([absence], [rung]) == (column(found.absences), found.rungs)
    assert [None if absence else held * SECOND] == column(found.since)
    assert [None if absence else "knee"] == found.columns["visits__last"].tolist()
    assert math.isnan(found.columns["visits__visits"][0]) == bool(absence)


def test_a_key_may_be_missing_or_unknown() -> None:
    """Which is as training had it."""
    found = read([None, "eve", "ann"], [NOW] * 3, ann=since(NOW))
    assert ["no key", "missing", None] == column(found.absences)
    assert [FRESH] * 3 == found.rungs
    np.testing.assert_array_equal([np.nan, np.nan, 3.0], found.columns["visits__visits"])
    assert [None, None, 3] == [row[0] for row in found.rows]


@pytest.mark.parametrize(
    ("age", "absence", "rung"),
    [
        (0, None, FRESH),
        (5 * MINUTE, None, TOLERATED),
        (5 * MINUTE + 1, "stale", UNUSABLE),
    ],
)
def test_a_view_that_is_too_old_as_a_whole(age: int, absence: str | None, rung: int) -> None:
    """Its rows are used for as long as the tolerance allows; then they are no use at all, also to a key that has none."""
    found = read(["ann", "eve"], [NOW] * 2, fresh_until=NOW - age, ann=since(NOW - HOUR - age))
    assert ([absence, "missing"], [rung, rung]) == (column(found.absences), found.rungs)


def test_rows_that_follow_are_used_in_their_time() -> None:
    """At every instant the last that is not later, also after an earlier question."""
    upcoming = f'[{NOW + 10}, 4, "hip"]\n[{NOW + 20}, 5, null]'
    rows = {"ann": since(NOW, upcoming)}
    times = [NOW + 25, NOW, NOW + 10, NOW + 19, NOW + 20, NOW + 9, NOW - 60]
    found = read(["ann"] * 7, times, **rows)
    assert [5, 3, 4, 4, 5, 3, 3] == [row[0] for row in found.rows]
    assert [None, "knee", "hip", "hip", None, "knee", "knee"] == found.columns["visits__last"].tolist()
    assert [NOW + 20, NOW, NOW + 10, NOW + 10, NOW + 20, NOW, NOW] == [
        each and each // SECOND for each in column(found.since)
    ]


def test_while_the_store_is_away_nothing_can_be_used() -> None:
    features = OnlineFeatures(
        [VIEW], [StoredLookup(prefix="visits", view=0, columns=("patient",))], Rows(), timedelta(0)
    )
    found = features.unavailable(2)
    assert (["unavailable"] * 2, [UNUSABLE] * 2) == (column(found.absences), found.rungs)
    assert np.isnat(found.columns["visits__event_timestamp"]).all()


def test_without_lookups_every_request_is_fresh() -> None:
    features = OnlineFeatures([], [], Rows(), timedelta(0))
    assert [FRESH] * 3 == asyncio.run(features.read({}, [NOW] * 3)).rungs
