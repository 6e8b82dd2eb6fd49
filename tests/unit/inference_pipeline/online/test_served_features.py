"""Releases share the features that they read, as long as those have the same views."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from inference_pipeline.online import served_features
from inference_pipeline.online.release import Release
from inference_pipeline.online.served_features import ServedFeatures
from ratchet.feature_store.online_features import OnlineFeatures
from ratchet.feature_store.stored_rows import HeldRows
from ratchet.project.run import Run
from tests.support.champions import FixedRows, noshow_champion, release_of
from tests.support.runs import noshow_project


class Connection(FixedRows):
    """A store that is open from its first read until it is closed."""

    def __init__(self) -> None:
        self.is_open = False

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        self.is_open = True
        return await super().read(wanted)

    def close(self) -> None:
        self.is_open = False


class Store:
    """An online store that remembers the connections to it."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []

    def reader(self, _views: object) -> Connection:
        self.connections.append(Connection())
        return self.connections[-1]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return noshow_project(tmp_path)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(served_features, "online_store", lambda *_: store)
    return store


def release(run: Run, **changes: object) -> Release:
    return release_of(run, noshow_champion(run)).model_copy(update=changes)


def read(features: OnlineFeatures) -> None:
    request: Mapping[str, Any] = {"patient": ["p3"], "clinic": ["north"]}
    asyncio.run(features.read(request, [0]))


def test_releases_with_the_same_views_read_the_same(run: Run, store: Store) -> None:
    """Also when another model answers: rows that were read stay in memory."""
    served = ServedFeatures(run)
    first = served.of(release(run))
    other = release(run, model_name="other")
    assert first is served.of(other)
    assert 1 == len(store.connections)


def test_what_was_replaced_is_closed_when_its_requests_have_ended(run: Run, store: Store) -> None:
    """By the second call: requests that began before the first one have a few seconds."""
    served = ServedFeatures(run)
    before = served.of(release(run))
    read(before)
    after = served.of(release(run, feast_project="elsewhere"))
    for expected in ([True, True], [False, True], [False, True]):
        read(after)
        served.close_replaced()
        assert expected == [each.is_open for each in store.connections]
    assert after is served.of(release(run, feast_project="elsewhere"))
