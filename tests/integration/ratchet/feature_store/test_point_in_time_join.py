"""The point-in-time join through Feast, against a brute-force oracle and against Feast's own contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.core.clock import Period
from ratchet.core.errors import StoreError
from ratchet.feature_store.definitions import apply, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical
from ratchet.features.service import request_schema, service_spec
from ratchet.project.run import Run
from tests.support.parcels import parcels_project

START = datetime(2024, 3, 9, tzinfo=UTC)
HOURS = st.integers(0, 80)
KEY = st.integers(0, 2)
Rows = list[dict[str, Any]]


def instant(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def rows_of(
    keys: Mapping[str, st.SearchStrategy[Any]], features: Mapping[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Rows]:
    """Rows of a view: nullable features, one row per key and hour."""
    columns = {
        **keys,
        "event_timestamp": HOURS.map(instant),
        **{name: st.none() | kind for name, kind in features.items()},
    }
    return st.lists(
        st.fixed_dictionaries(columns),
        max_size=12,
        unique_by=lambda row: tuple(row[name] for name in (*keys, "event_timestamp")),
    )


COUNTS = {"parcels": st.integers(0, 2**60), "grams": st.floats(allow_nan=False, allow_infinity=False)}
VIEWS = st.fixed_dictionaries(
    {
        "depot": rows_of({"depot": KEY}, COUNTS),
        "route": rows_of({"sender": KEY, "receiver": KEY}, COUNTS),
        "network": rows_of({"network": st.just("post")}, COUNTS),
        "position": st.lists(
            st.fixed_dictionaries(
                {
                    "depot": KEY,
                    "event_timestamp": st.just(datetime(2000, 1, 1, tzinfo=UTC)),
                    "north": st.none() | st.floats(-1, 1),
                    "is_north": st.none() | st.booleans(),
                    "name": st.none() | st.text(max_size=3),
                }
            ),
            unique_by=lambda row: row["depot"],
        ),
    }
)
MOMENTS = HOURS.map(instant) | HOURS.map(lambda hours: instant(hours) - timedelta(microseconds=1))
REQUESTS = st.lists(
    st.fixed_dictionaries({"sender": KEY, "receiver": st.none() | KEY, "event_timestamp": MOMENTS}),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = parcels_project(tmp_path_factory.mktemp("parcels"))
    apply(FeatureStore.open(run))
    return run


def write(directory: Path, schema: pa.Schema, rows: Rows, *, dated: bool = True) -> None:
    """Rows by UTC date, in place of what was there."""
    for path in directory.rglob("*.parquet"):
        path.unlink()
    for unit in sorted({row["event_timestamp"].date() for row in rows}):
        name = f"date={unit}" if dated else "static"
        of_day = [row for row in rows if row["event_timestamp"].date() == unit]
        (directory / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(of_day, schema), directory / name / "part.parquet")


def write_all(run: Run, views: Mapping[str, Rows], requests: Rows) -> None:
    spec = service_spec(run.use_case)
    for name, rows in views.items():
        write(run.paths.features / "views" / spec.views[name], spec.schemas[name], rows, dated=name != "position")
    numbered = [{"request_id": f"{n:03d}", "network": "post", **request} for n, request in enumerate(requests)]
    write(run.paths.features / "requests", request_schema(run.use_case), numbered)


def oracle(run: Run, views: Mapping[str, Rows], request: Mapping[str, Any]) -> dict[str, Any]:
    """Look at every row of every view: the last one that matches, is not from the future and is not too old."""
    spec, found = service_spec(run.use_case), {}
    for lookup in run.use_case.lookups:
        max_age = run.use_case.view(lookup.view).max_age or timedelta.max
        matching = [
            row
            for row in views[lookup.view]
            if all(row[key] == request[column] for key, column in lookup.keys.items())
            and timedelta() <= request["event_timestamp"] - row["event_timestamp"] <= max_age
        ]
        best = max(matching, key=lambda row: row["event_timestamp"], default={})
        for name in (*spec.features[lookup.view], "event_timestamp"):
            found[f"{lookup.prefix}__{name}"] = best.get(name)
    return found


def plain(columns: Mapping[str, np.ndarray[Any, Any]], row: int) -> dict[str, Any]:
    """One row of joined columns as Python values."""
    found = {}
    for name, column in columns.items():
        if "__" in name:
            value = column[row].item() if hasattr(column[row], "item") else column[row]
            found[name] = None if value != value else value
    return found


def as_stored(value: Any) -> Any:
    """What columns make of a value: numbers are floats, instants naive UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return float(value) if isinstance(value, int) else value


@settings(max_examples=40)
@given(views=VIEWS, requests=REQUESTS)
def test_join_is_exact(run: Run, views: Mapping[str, Rows], requests: Rows) -> None:
    """Nulls, ties, absent keys, edges of max_age, several views and roles of one: all as brute force finds them."""
    write_all(run, views, requests)
    joined = historical(FeatureStore.open(run), Period(START - timedelta(days=1), START + timedelta(days=7)))
    in_order = sorted(enumerate(requests), key=lambda item: (item[1]["event_timestamp"], item[0]))
    assert [f"{number:03d}" for number, _ in in_order] == list(joined["request_id"])
    for row, (_, request) in enumerate(in_order):
        expected = oracle(run, views, {**request, "network": "post"})
        assert {name: as_stored(value) for name, value in expected.items()} == plain(joined, row)


FACTS = {
    "depot": [
        {"depot": 0, "event_timestamp": instant(1), "parcels": 7, "grams": 0.5},
        {"depot": 1, "event_timestamp": instant(2), "parcels": 8, "grams": None},
    ],
    "route": [],
    "network": [],
    "position": [],
}
ENTITIES = pd.DataFrame(
    {
        "sender": [0, 1],
        "receiver": [1.0, None],
        "network": "post",
        "event_timestamp": pd.to_datetime([instant(3), instant(1)]),
    }
)


def retrieve(run: Run, entities: pd.DataFrame, **options: Any) -> Any:
    store = open_store(FeatureStore.open(run))
    names = service_spec(run.use_case).views
    features: Any = [f"{names['depot']}:parcels", f"{names['depot']}:grams"]
    return store.get_historical_features(entities, features, **options)


@pytest.mark.parametrize("full_feature_names", [False, True])
def test_frame_of_entities_gets_features_as_feast_promises(run: Run, full_feature_names: bool) -> None:
    """A notebook gets its own columns and the features asked for, by short or full names, and nothing else."""
    write_all(run, FACTS, [])
    entities = ENTITIES[["sender", "event_timestamp"]].rename(columns={"sender": "depot"})
    frame = retrieve(run, entities, full_feature_names=full_feature_names).to_df().sort_values("depot")
    prefix = f"{service_spec(run.use_case).views['depot']}__" if full_feature_names else ""
    assert ["depot", "event_timestamp", f"{prefix}parcels", f"{prefix}grams"] == list(frame.columns)
    assert [7.0, 0.5] == frame.iloc[0, 2:].tolist()
    assert frame.iloc[1, 2:].isna().all()


def test_service_retrieves_every_role(run: Run) -> None:
    """The feature service looks a view up once for each role, by the columns that its lookups map."""
    write_all(run, FACTS, [])
    store, spec = open_store(FeatureStore.open(run)), service_spec(run.use_case)
    service = store.get_feature_service(spec.name)
    frame = store.get_historical_features(ENTITIES, service, full_feature_names=True).to_df().sort_values("sender")
    assert [7.0, 8.0] == frame.iloc[0][["from_depot__parcels", "to_depot__parcels"]].tolist()
    assert frame.iloc[1][["from_depot__parcels", "to_depot__parcels"]].isna().all()


def test_moment_without_a_zone_is_utc(run: Run) -> None:
    """Naive timestamps of a frame are read as UTC, whatever the machine's zone."""
    write_all(run, FACTS, [])
    naive = pd.DataFrame({"depot": [0, 0], "event_timestamp": [datetime(2024, 3, 9, 1), datetime(2024, 3, 9, 0, 59)]})  # noqa: DTZ001
    frame = retrieve(run, naive).to_df().sort_values("event_timestamp")
    assert [None, 7] == [None if pd.isna(value) else value for value in frame["parcels"]]


@pytest.mark.parametrize(
    ("entities", "options", "message"),
    [
        (ENTITIES[["event_timestamp"]], {}, "entity_df: lacks depot"),
        (ENTITIES[["sender"]].rename(columns={"sender": "depot"}), {}, "entity_df: lacks event_timestamp"),
        (ENTITIES, {"filter_by_created_timestamp": True}, "cannot filter by created timestamp"),
        (None, {"start_date": START, "end_date": START}, "cannot list values without entities"),
    ],
)
def test_what_the_store_cannot_answer_is_said(
    run: Run, entities: Any, options: Mapping[str, Any], message: str
) -> None:
    """A missing column or an option that is not supported is an error, never a different answer."""
    with pytest.raises(StoreError, match=message):
        retrieve(run, entities, **options).to_df()
