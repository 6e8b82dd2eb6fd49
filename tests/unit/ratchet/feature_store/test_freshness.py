"""How old a view's features are, and from when on no request finds any."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ratchet.feature_store.freshness import freshness_of, read_freshness
from ratchet.storage.files import write_json
from ratchet.use_case.contract import Array, View
from tests.support.noshow import use_case

NEWEST = datetime(2024, 7, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NONE = np.array([], "datetime64[us]")


def view(max_age: timedelta | None) -> View:
    return replace(use_case.view("patient_history"), max_age=max_age)


def hours(*later: int) -> Array:
    return np.array([(NEWEST + each * HOUR).replace(tzinfo=None) for each in later], "datetime64[us]")


def test_a_view_is_fresh_up_to_its_maximum_age() -> None:
    """And not a second longer."""
    found = freshness_of(view(2 * HOUR), NEWEST, NONE)
    assert (2 * HOUR, True) == (found.age(NEWEST + 2 * HOUR), found.is_fresh(NEWEST + 2 * HOUR))
    assert not found.is_fresh(NEWEST + 2 * HOUR + timedelta(seconds=1))
    assert (7200.0, 3600.0, True) == tuple(
        found.as_of(NEWEST + HOUR)[name] for name in ("max_age_seconds", "age_seconds", "fresh")
    )


def test_a_view_without_a_maximum_is_always_fresh() -> None:
    """However old its rows are."""
    assert freshness_of(view(None), NEWEST, NONE).is_fresh(NEWEST + timedelta(days=9000))


def test_a_view_without_rows_is_not_fresh() -> None:
    """It has no age either, with or without a maximum."""
    for limit in (None, HOUR):
        found = freshness_of(view(limit), None, NONE)
        assert (None, False) == (found.age(NEWEST), found.is_fresh(NEWEST))


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 12), st.integers(0, 60))
def test_fresh_is_what_a_request_would_find(later: list[int], limit: int, asked: int) -> None:
    """There is always a row that is not too old, up to the first time at which there is none."""
    found = freshness_of(view(limit * HOUR), NEWEST, hours(*later))
    times = sorted({0, *(each for each in later if each <= asked), asked})
    has_gap = any(second - first > limit for first, second in pairwise(times))
    assert has_gap != found.is_fresh(NEWEST + asked * HOUR)
    assert asked * HOUR == found.age(NEWEST + asked * HOUR)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """From materialize's report; nothing from a store that was never written."""
    path, found = tmp_path / "materialized.json", freshness_of(view(HOUR), NEWEST, hours(1))
    assert {} == read_freshness(path)
    write_json(path, {"inputs": "0", "report": {"freshness": {"patient_history": found.as_of(NEWEST)}}})
    assert {"patient_history": found} == read_freshness(path)
