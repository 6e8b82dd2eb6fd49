"""A step is told if the features do not reach as far forward, or back, as it needs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ratchet.core.clock import Period
from ratchet.core.errors import StoreError, StoreUnavailableError
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.features.extent import read_extent, write_extent
from tests.support.runs import noshow_project

HELD = Period(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC))
SECOND = timedelta(seconds=1)


@pytest.fixture
def features(tmp_path: Path) -> FeatureStore:
    """Features of four months."""
    run = noshow_project(tmp_path)
    write_extent(run.paths.features, HELD)
    return FeatureStore.open(run)


def test_what_they_hold_is_enough(features: FeatureStore) -> None:
    """Exactly, and any part of it."""
    assert HELD == read_extent(features.offline)
    features.require(HELD.end)
    features.require(HELD.end, HELD.start)
    features.require(HELD.end - SECOND, HELD.start + SECOND)


def test_later_ones_may_come(features: FeatureStore) -> None:
    """Another attempt may succeed: the feature run may only be late."""
    with pytest.raises(StoreUnavailableError, match="2024-07-01T00:00:01"):
        features.require(HELD.end + SECOND)


def test_earlier_ones_do_not_come_back_by_themselves(features: FeatureStore) -> None:
    """A person has to keep them for longer: the setting is named."""
    with pytest.raises(StoreError, match=r"2024-02-29T23:59:59.*retention\.features") as failure:
        features.require(HELD.end, HELD.start - SECOND)
    assert not isinstance(failure.value, StoreUnavailableError)
