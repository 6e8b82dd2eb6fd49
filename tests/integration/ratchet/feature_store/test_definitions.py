"""The feature store as training and batch read it, as its errors tell it, and as the `feast` command shows it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_pipeline.materialize import materialize
from ratchet.core.clock import Period
from ratchet.core.environment import Environment
from ratchet.core.errors import StoreError
from ratchet.feature_store.definitions import apply, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical, labelled_requests, request_times
from ratchet.features.service import request_schema, service_spec
from ratchet.project.run import Run
from ratchet.storage import sqlite
from ratchet.storage.arrow import to_columns
from ratchet.storage.files import write_text
from ratchet.use_case.contract import Array
from tests.support.checkout import ROOT
from tests.support.online_reads import read_online, read_without_feast
from tests.support.parcels import END, parcels_project
from tests.support.registry import copied
from tests.support.runs import noshow_project, write_settings

MARCH = Period(datetime(2024, 3, 10, 12, tzinfo=UTC), datetime(2024, 3, 12, tzinfo=UTC))


@pytest.fixture(scope="module")
def run(featurized_parcels: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project whose store is applied; do not change it."""
    run = copied(featurized_parcels, tmp_path_factory.mktemp("applied") / "project")
    apply(FeatureStore.open(run))
    return run


def requests() -> dict[str, Array]:
    """Requests at the end of the period, as columns."""
    keys = {name: np.array([0.0, 1.0, 2.0]) for name in ("sender", "receiver")}
    return {**keys, "network": np.full(3, "post"), "event_timestamp": np.full(3, stamp(END))}


def stamp(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.replace(tzinfo=None), "us")


def test_historical_is_the_period_in_order(run: Run) -> None:
    """The requests of a period, and no others, come by timestamp with their columns, then features, then their times."""
    columns = historical(FeatureStore.open(run), MARCH)
    spec = service_spec(run.use_case)
    timestamps = columns["event_timestamp"]
    assert (timestamps[:-1] <= timestamps[1:]).all()
    assert stamp(MARCH.start) <= timestamps[0]
    assert stamp(MARCH.end) > timestamps[-1]
    expected = [*request_schema(run.use_case).names]
    for lookup in run.use_case.lookups:
        expected += [f"{lookup.prefix}__{name}" for name in (*spec.features[lookup.view], "event_timestamp")]
    assert expected == list(columns)
    assert "datetime64[us]" == columns["network__event_timestamp"].dtype
    assert np.float64 == columns["to_depot__parcels"].dtype


def test_two_halves_are_the_whole(run: Run) -> None:
    """A period read in two parts gives the rows of the whole."""
    middle = MARCH.start + timedelta(hours=7, microseconds=1)
    halves = [
        historical(FeatureStore.open(run), part) for part in (Period(MARCH.start, middle), Period(middle, MARCH.end))
    ]
    for name, column in historical(FeatureStore.open(run), MARCH).items():
        np.testing.assert_array_equal(column, np.concatenate([half[name] for half in halves]))


def test_labels_are_those_known_by_then(run: Run) -> None:
    """A label counts from the timestamp it is known; in the end every request has one."""
    everything = to_columns(labelled_requests(FeatureStore.open(run), MARCH, MARCH.end + timedelta(days=9)))
    known = to_columns(labelled_requests(FeatureStore.open(run), MARCH, MARCH.end))
    assert len(everything["label"]) == len(historical(FeatureStore.open(run), MARCH)["request_id"])
    assert set(known["request_id"]) == set(everything["request_id"][everything["label_known_at"] <= stamp(MARCH.end)])
    assert 0 < len(known["label"]) < len(everything["label"])


def test_labelled_requests_are_historical_ones(run: Run) -> None:
    """They are those that have a known label, in their order."""
    stored = pq.read_table(run.paths.features / "labels", partitioning=None).to_pydict()
    by_id = dict(zip(stored["request_id"], stored["label"], strict=True))
    columns, joined = (
        to_columns(labelled_requests(FeatureStore.open(run), MARCH, MARCH.end)),
        historical(FeatureStore.open(run), MARCH),
    )
    kept = np.isin(joined["request_id"], columns["request_id"])
    for name, column in joined.items():
        np.testing.assert_array_equal(column[kept], columns[name])
    assert [by_id[request] for request in columns["request_id"]] == columns["label"].tolist()
    assert {*joined, "label", "label_known_at"} == set(columns)


def test_all_requests_of_a_period_are_counted(run: Run) -> None:
    """Those without a label, too."""
    times = historical(FeatureStore.open(run), MARCH)["event_timestamp"]
    np.testing.assert_array_equal(times, to_columns(request_times(FeatureStore.open(run), MARCH))["event_timestamp"])
    assert len(times) > labelled_requests(FeatureStore.open(run), MARCH, MARCH.end).num_rows


def test_period_without_requests_is_an_error(run: Run) -> None:
    """An empty interval is named, rather than scored as nothing."""
    nothing = Period(datetime(2023, 3, 1, tzinfo=UTC), datetime(2023, 4, 1, tzinfo=UTC))
    with pytest.raises(StoreError, match=r"no request.*\[2023-03-01.*`ratchet stage featurize`"):
        historical(FeatureStore.open(run), nothing)


def test_absent_registry_is_an_error_that_makes_none(tmp_path: Path) -> None:
    """Reading a store that was never applied says what to run, and leaves no empty registry behind."""
    run = parcels_project(tmp_path)
    with pytest.raises(StoreError, match=r"feature registry .*`ratchet stage materialize`"):
        open_store(FeatureStore.open(run))
    with pytest.raises(StoreError, match="cannot be read"):
        read_without_feast(run, requests())
    assert [] == list(tmp_path.iterdir())


def test_reader_makes_no_tables_in_a_registry(tmp_path: Path) -> None:
    """What holds no definitions is named, also a database elsewhere, and stays as it is."""
    elsewhere = tmp_path / "elsewhere.db"
    environment = Environment(feast_registry=sqlite.url(elsewhere))
    for run in (parcels_project(tmp_path), replace(parcels_project(tmp_path), environment=environment)):
        path = elsewhere if run.environment.feast_registry else run.paths.state / "feast_registry.db"
        write_text(path, "")
        with pytest.raises(StoreError, match=r"holds nothing.*Run `ratchet stage materialize`"):
            open_store(FeatureStore.open(run))
        assert 0 == path.stat().st_size


def test_store_may_be_moved(run: Run, tmp_path: Path) -> None:
    """In another folder, whatever its name, all is read from that folder, as if it had always been there."""
    first = copied(run, tmp_path / "first")
    materialize(first)
    expected, online = (
        historical(FeatureStore.open(first), MARCH),
        read_online(first, requests()),
    )
    moved = replace(first, root=first.root.rename(tmp_path / "a?b [1] #%20 'é"))
    (tmp_path / "aXb 1 #%20 'é").symlink_to(run.root)  # what a path that is taken for a pattern would find, too
    for columns, found in (
        (expected, historical(FeatureStore.open(moved), MARCH)),
        (online, read_online(moved, requests())),
    ):
        for name, column in columns.items():
            np.testing.assert_array_equal(column, found[name])
    shutil.rmtree(moved.paths.state)
    materialize(moved)
    assert expected.keys() == historical(FeatureStore.open(moved), MARCH).keys()
    assert [moved.root.name] == [path.name for path in tmp_path.iterdir() if not path.is_symlink()]


def test_registry_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """A registry elsewhere that does not answer names the variable that points to it."""
    environment = Environment(feast_registry=f"sqlite:///{tmp_path}/absent/registry.db")
    with pytest.raises(StoreError, match=r"cannot be opened .* RATCHET_FEAST_REGISTRY"):
        open_store(FeatureStore.open(replace(parcels_project(tmp_path), environment=environment)))


def test_registry_may_live_elsewhere(run: Run, tmp_path: Path) -> None:
    """RATCHET_FEAST_REGISTRY moves the registry by itself."""
    environment = Environment(feast_registry=f"sqlite:///{tmp_path}/registry.db")
    moved = replace(parcels_project(tmp_path), environment=environment)
    shutil.copytree(run.paths.data, moved.paths.data)
    materialize(moved)
    assert (tmp_path / "registry.db").exists()
    assert not (moved.paths.state / "feast_registry.db").exists()
    assert len(historical(FeatureStore.open(moved), MARCH)["request_id"]) == len(
        historical(FeatureStore.open(run), MARCH)["request_id"]
    )


def test_where_feast_keeps_what_is_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    """feature_store.yaml holds the registry's address, and that may hold a password; also where a readable file stood."""
    moved = replace(run, root=tmp_path, environment=Environment(feast_registry=f"sqlite:///{tmp_path}/registry.db"))
    path = tmp_path / "feature_repo" / "feature_store.yaml"
    write_text(path, "")
    path.chmod(0o644)
    apply(FeatureStore.open(moved))
    assert "registry.db" in path.read_text(encoding="utf-8")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def feast(root: Path, *arguments: str) -> str:
    """What the `feast` command prints in a folder; Ratchet need not be installed, only found."""
    command = [sys.executable, "-m", "feast.cli.cli", "-c", "feature_repo", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout


def test_feast_command_knows_the_use_case_that_was_applied(tmp_path: Path) -> None:
    """What Ratchet applied is what feature_repo defines, and the `feast` command shows it in that folder."""
    run = parcels_project(tmp_path)
    write_settings(tmp_path, noshow_project(tmp_path), run)
    apply(FeatureStore.open(run))
    shutil.copy(ROOT / "feature_repo" / "definitions.py", tmp_path / "feature_repo")
    assert service_spec(run.use_case).views["route"] in feast(tmp_path, "feature-views", "list")
    assert "No changes to registry" in feast(tmp_path, "apply")
