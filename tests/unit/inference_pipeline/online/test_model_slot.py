"""The release that answers changes when the loader says so, and never for the worse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from inference_pipeline.online import model_slot
from inference_pipeline.online.arms import Arms
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.release_folder import Current, ReleaseFolder
from inference_pipeline.online.shared import Shared
from ratchet.core.errors import (
    DataError,
    GateError,
    RegistryError,
    RegistryUnavailableError,
    StoreUnavailableError,
)
from ratchet.feature_store import circuit_breaker
from ratchet.feature_store.circuit_breaker import FAILURES
from ratchet.feature_store.online_features import OnlineFeatures
from ratchet.feature_store.stored_rows import HeldRows
from ratchet.project.run import Run
from ratchet.storage.files import write_json
from tests.support.champions import FixedRows, fixed_predictor
from tests.support.releases import say
from tests.support.runs import noshow_project

UNSIGNED = GateError("the signature does not fit", subject="release", remedy="Remove it")
DISAGREES = DataError("gives 3 golden rows another number", subject="model", remedy="Compile it again")
FULL = StoreUnavailableError("cannot be read", subject="current.json", remedy="Make room")


class Releases:
    """Loads releases, named by their versions, and fails when it is told to."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.broken: Exception | None = None
        self.rows = AwayRows()

    def load(self, run: Run, folder: Path, shared: Shared) -> Predictor:
        if self.broken:
            raise self.broken
        self.loaded.append(folder.name)
        predictor = fixed_predictor(run, folder, shared)
        release = predictor.release
        features = OnlineFeatures(release.views, release.lookups, self.rows, timedelta(0))
        champion = release.champion.model_copy(update={"version": int(folder.name[1:])})
        arms = Arms(replace(predictor.arms.champion, released=champion))
        return replace(
            predictor, release=release.model_copy(update={"champion": champion}), arms=arms, features=features
        )


class AwayRows(FixedRows):
    """An online store that cannot be read while it is away."""

    is_away = False

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        if self.is_away:
            raise FULL
        return await super().read(wanted)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = noshow_project(tmp_path)
    write_json(run.paths.serving_file, {"version": 1})
    return run


@pytest.fixture
def releases() -> Releases:
    return Releases()


@pytest.fixture
def serving(run: Run, releases: Releases) -> ModelSlot:
    """Release v1 answers."""
    say(run, "v1")
    slot = ModelSlot(run, releases.load, lambda _run: "")
    slot.refresh()
    return slot


def version(serving: ModelSlot) -> int:
    return serving.predictor.release.champion.version


def test_a_release_knows_how_old_features_are_before_it_answers(
    run: Run, serving: ModelSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the one before it goes on: no request takes old features for fresh ones."""
    told: list[tuple[int, int]] = []

    def note(_run: Run, predictor: Predictor) -> None:
        told.append((version(serving), predictor.release.champion.version))

    monkeypatch.setattr(model_slot, "note_freshness", note)
    say(run, "v2")
    serving.refresh()
    assert (2, [(1, 2)]) == (version(serving), told)


def test_a_release_is_loaded_once(run: Run, serving: ModelSlot, releases: Releases) -> None:
    """When the loader names another one, and only then."""
    serving.refresh()
    assert 1 == version(serving)
    say(run, "v2")
    serving.refresh()
    serving.refresh()
    assert (2, ["v1", "v2"]) == (version(serving), releases.loaded)


@pytest.mark.parametrize("trouble", [OSError("the disk is gone"), FULL, UNSIGNED, DISAGREES])
def test_what_is_loaded_stays_while_another_release_cannot_be_used(
    run: Run, serving: ModelSlot, releases: Releases, trouble: Exception
) -> None:
    """Be it away or not right: the reason is said, and loading is tried again."""
    releases.broken = trouble
    say(run, "v2")
    serving.refresh()
    assert 1 == version(serving)
    assert str(trouble) == serving.problem
    releases.broken = None
    serving.refresh()
    assert (2, "") == (version(serving), serving.problem)


def test_a_promotion_that_the_loader_refuses_changes_nothing(run: Run, serving: ModelSlot) -> None:
    """It names the release that it accepted last, with the problem, which is said."""
    write_json(run.paths.serving_file, {"version": 2})
    say(run, "v1", "version 2 was edited")
    serving.refresh()
    assert (1, "version 2 was edited") == (version(serving), serving.problem)


def test_where_no_model_may_serve_none_answers(run: Run, serving: ModelSlot) -> None:
    """What answered before is gone, and a person has to act; then another one answers."""
    say(run, None, "nothing is promoted")
    serving.refresh()
    assert not serving.ready
    with pytest.raises(RegistryError, match="nothing is promoted") as raised:
        _ = serving.predictor
    assert not isinstance(raised.value, RegistryUnavailableError)
    say(run, "v2")
    serving.refresh()
    assert 2 == version(serving)


def test_what_the_loader_says_may_be_unreadable(run: Run, serving: ModelSlot) -> None:
    """Looking for a change never fails: the release that answers goes on, and the next change is followed."""
    path = ReleaseFolder.of(run).path / "current.json"
    path.write_text("{")
    serving.refresh()
    assert 1 == version(serving)
    assert "current.json" in serving.problem
    path.unlink()
    say(run, "v2")
    serving.refresh()
    assert 2 == version(serving)


def test_without_a_loader_it_goes_on_and_says_so_once(
    run: Run, serving: ModelSlot, caplog: pytest.LogCaptureFixture
) -> None:
    path = ReleaseFolder.of(run).path / "current.json"
    os.utime(path, (0, path.stat().st_mtime - model_slot.SILENCE.total_seconds() - 1))
    for _ in range(3):
        serving.refresh()
    assert 1 == version(serving)
    assert "loader" in serving.problem
    assert 1 == len(caplog.records)
    say(run, "v1")
    serving.refresh()
    assert "" == serving.problem


def test_before_the_loader_said_anything_nothing_answers(run: Run, releases: Releases) -> None:
    """Until then it is not known whether anything may: the same request may be answered soon."""
    slot = ModelSlot(run, releases.load, lambda _run: "")
    slot.refresh()
    assert not slot.ready
    with pytest.raises(RegistryUnavailableError, match="loader"):
        _ = slot.predictor


def test_a_process_that_starts_waits_for_the_loader(
    run: Run, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else was promoted while none ran. If no loader comes, what was accepted last answers."""
    say(run, "v1")
    write_json(run.paths.serving_file, {"version": 2})
    slot = ModelSlot(run, releases.load, lambda _run: "")
    slot.refresh()
    assert not slot.ready
    monkeypatch.setattr(model_slot, "PATIENCE", -1.0)
    slot.refresh()
    assert 1 == version(slot)


def test_a_process_that_starts_waits_longer_for_the_first_word(
    run: Run, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing yet that it could answer with. What the loader cannot find out is a word, too."""
    monkeypatch.setattr(model_slot, "PATIENCE", -1.0)
    slot = ModelSlot(run, releases.load, lambda _run: "")
    slot.refresh()
    assert not slot.is_settled
    ReleaseFolder.of(run).say(Current(problem="the registry is away"))
    slot.refresh()
    assert slot.is_settled
    assert not slot.ready


def test_a_store_that_this_process_cannot_read_is_named(
    serving: ModelSlot, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the loader can: the baseline answers, which readiness has to say, until a read succeeds again."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", 0.0)
    features, rows = serving.predictor.features, releases.rows
    for is_away, problems in ((True, {"store"}), (False, set())):
        rows.is_away = is_away
        for _ in range(FAILURES):
            with pytest.raises(StoreUnavailableError) if is_away else nullcontext():
                asyncio.run(features.read({"patient": ["p3"]}, [0]))
        serving.refresh()
        assert problems == {*serving.problems}


def test_a_store_that_must_not_be_used_is_left_alone(run: Run, releases: Releases) -> None:
    """It is named, from the first look on, and its features are used again as soon as it is whole."""
    found = ["online store: is not there."]
    say(run, "v1")
    slot = ModelSlot(run, releases.load, lambda _run: found[0])
    slot.refresh()
    for store in ("online store: is not there.", "", "online store: was put back."):
        found[0] = store
        slot.check_store()
        assert (store, {"store": store} if store else {}) == (slot.predictor.features.problem, slot.problems)
    say(run, "v2")
    slot.refresh()
    assert (2, store) == (version(slot), slot.predictor.features.problem)


def test_a_store_that_cannot_be_asked_is_left_alone(run: Run, releases: Releases) -> None:
    """Whatever the reason."""

    def ask(_run: Run) -> str:
        raise ZeroDivisionError("of something")

    say(run, "v1")
    slot = ModelSlot(run, releases.load, ask)
    slot.refresh()
    assert "online store: of something" == slot.predictor.features.problem
