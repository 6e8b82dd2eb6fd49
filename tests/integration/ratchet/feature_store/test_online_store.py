"""What every online store does, whichever RATCHET_ONLINE_STORE selects."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from ratchet.core.environment import Environment
from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store.definitions import apply, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_store import ONLINE_STORES, OnlineStore, online_store
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from ratchet.use_case.columns import UPCOMING
from tests.support.registry import copied

SINCE = datetime(2024, 10, 27, 1, 30, tzinfo=UTC)  # an hour that local clocks in Europe show twice
ROWS = {"depot": [1], "parcels": [3], "grams": [7.0], UPCOMING: ["[]"], "event_timestamp": [SINCE]}


@pytest.fixture(params=ONLINE_STORES)
def run(request: pytest.FixtureRequest, featurized_parcels: Run, tmp_path: Path) -> Run:
    """A project that selects a store, in which nothing was applied yet."""
    copy = copied(featurized_parcels, tmp_path / "copy")
    return replace(copy, environment=copy.environment.model_copy(update={"online_store": request.param}))


def store(run: Run) -> OnlineStore:
    return online_store(run.environment, run.paths.state)


def test_every_store_that_can_be_selected_is_there() -> None:
    """The setting knows the names of the table, and no others."""
    assert set(ONLINE_STORES) == set(get_args(Environment.model_fields["online_store"].annotation))


def test_a_reader_makes_none(run: Run) -> None:
    """One that is absent is an error, and stays absent: in a new one every feature would be missing."""
    apply(FeatureStore.open(run))
    other = online_store(run.environment, run.paths.state / "elsewhere")
    with pytest.raises(StoreUnavailableError, match="stage materialize"):
        other.attach(open_store(FeatureStore.open(run)))
    assert not other.exists()


def test_making_it_again_keeps_what_it_holds(run: Run) -> None:
    """`apply` runs before every `materialize`; rows come back with their instants, to the second, in UTC."""
    apply(FeatureStore.open(run))
    feature_store = open_store(FeatureStore.open(run))
    view = next(name for name in service_spec(run.use_case).views.values() if name.startswith("depot"))
    feature_store.write_to_online_store(view, pd.DataFrame(ROWS))
    store(run).create()
    apply(FeatureStore.open(run))
    reader = open_store(FeatureStore.open(run))
    store(run).attach(reader)
    found = reader.get_online_features([f"{view}:{UPCOMING}"], {"depot": [1, 2]}).to_dict(include_event_timestamps=True)
    assert ["[]", None] == found[UPCOMING]
    assert int(SINCE.timestamp()) == found[f"{UPCOMING}__ts"][0]
