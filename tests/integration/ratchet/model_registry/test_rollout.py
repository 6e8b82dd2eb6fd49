"""Rollouts in the registry: who may answer at which step, what ends one, and what a person sees of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ratchet.core.errors import GateError, RegistryError
from ratchet.core.serving_settings import RolloutSettings, ServingSettings
from ratchet.gate.rollout import STRATEGIES, Plan, Rollout
from ratchet.model_registry.champion import champion_version
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, promote_by_policy, reconcile, rollback
from ratchet.model_registry.rollout import abort, advance, changes, load_challenger, running, start
from ratchet.model_registry.status import status
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.registry import NO_GAIN, WORSE, baseline, candidate, client, copied, move, offer_model, statuses

CANARY, SHADOW = STRATEGIES["canary"], STRATEGIES["shadow"]
ANN: dict[str, Any] = {"by": "ann", "reason": "a try"}


@pytest.fixture
def store(served: Run) -> ModelRegistry:
    """Version 2 serves."""
    return ModelRegistry.open(served)


@pytest.fixture
def better(served: Run) -> int:
    """A version that is superior to the one that serves, and waits for a person because it was made by uncommitted code."""
    return offer_uncommitted(served, 5)


def offer_uncommitted(run: Run, trees: int) -> int:
    model = candidate(trees)
    dirty = replace(model, contract=model.contract.model_copy(update={"dirty": True}))
    return offer_model(run, dirty, candidate().digest)


def aliases(run: Run) -> dict[str, int]:
    found = client(run).get_registered_model(run.scope.namespace).aliases
    return {name: int(number) for name, number in found.items()}


def test_it_goes_from_shadow_to_all_and_back(served: Run, store: ModelRegistry, better: int) -> None:
    """Each step is a signed change, the alias and the service's file follow, and at the end the challenger is the champion."""
    first = start(store, better, CANARY, **ANN)
    assert ("shadow", 0, True) == (first.step, first.share, first.mirrors)
    assert better == aliases(served)["challenger"]
    assert statuses(served)[-1] == "challenger: predicts in the shadow"
    shares = []
    while changed := advance(store, **ANN):
        assert changed == Rollout.model_validate(read_json(served.paths.rollout_file))
        shares.append(changed.share)
    assert [10, 50] == shares
    assert better == champion_version(store)
    assert ("serving", None) == (statuses(served)[-1], running(store))
    assert "challenger" not in aliases(served)
    assert read_json(served.paths.rollout_file) is None
    rollback(store, **ANN)
    assert 2 == champion_version(store)


def test_taken_back_the_champion_is_alone(served: Run, store: ModelRegistry, better: int) -> None:
    """The history keeps who did it, and why; and it may begin anew, with other callers."""
    begun = start(store, better, CANARY, **ANN)
    abort(store, by="bob", reason="it smells")
    going_on, history = changes(store)
    assert going_on is None
    assert [("start", "ann"), ("abort", "bob")] == [(change.kind, change.by) for change in history]
    assert statuses(served)[-1].startswith("was taken back by bob: it smells")
    assert "challenger" not in aliases(served)
    assert begun.started != start(store, better, CANARY, **ANN).started


@pytest.mark.parametrize("evidence", [{"gain": WORSE}, {"gain": NO_GAIN}, {"leaks": None}])
def test_what_was_not_admitted_answers_nobody(served: Run, store: ModelRegistry, evidence: dict[str, Any]) -> None:
    """It may predict in the shadow, and never goes further."""
    version = offer_model(served, candidate(5), candidate().digest, **evidence)
    with pytest.raises(GateError):
        start(store, version, STRATEGIES["ab"], **ANN)
    assert running(store) is None
    start(store, version, CANARY, **ANN)
    with pytest.raises(GateError):
        advance(store, **ANN)
    assert running(store).step == "shadow"  # type: ignore[union-attr]
    abort(store, **ANN)
    start(store, version, SHADOW, **ANN)
    with pytest.raises(GateError):
        advance(store, **ANN)
    assert 2 == champion_version(store)


def test_a_waiver_lets_a_non_inferior_version_answer(served: Run, store: ModelRegistry) -> None:
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    until = store.gate.clock.now() + timedelta(days=1)
    assert 50 == start(store, version, STRATEGIES["ab"], **ANN, until=until).share
    assert advance(store, **ANN) is None
    assert version == champion_version(store)


def test_only_one_is_rolled_out_at_a_time(store: ModelRegistry, better: int) -> None:
    """And never the one that serves."""
    with pytest.raises(RegistryError, match="serves already"):
        start(store, 2, CANARY, **ANN)
    start(store, better, CANARY, **ANN)
    with pytest.raises(RegistryError, match="is being rolled out"):
        start(store, 1, SHADOW, **ANN)


@pytest.mark.parametrize("change", [advance, abort])
def test_without_a_rollout_there_is_nothing_to_change(store: ModelRegistry, change: Any) -> None:
    with pytest.raises(RegistryError, match="no version is being rolled out"):
        change(store, **ANN)


def test_another_promotion_ends_it(served: Run, store: ModelRegistry, better: int) -> None:
    """Also when the former champion comes back later: whom the challenger was compared with, was another moment's."""
    start(store, better, CANARY, **ANN)
    rollback(store, **ANN)
    assert running(store) is None
    assert "challenger" not in aliases(served)
    promote(store, 2, **ANN)
    assert running(store) is None
    assert 2 == champion_version(store)


def test_the_policy_waits_for_its_end(served: Run, store: ModelRegistry, better: int) -> None:
    """Nightly training replaces nobody's champion under a rollout; afterwards the version may be asked for."""
    start(store, better, CANARY, **ANN)
    version = offer_model(served, candidate(7), candidate().digest)
    model = load_challenger(store, running(store))  # type: ignore[arg-type]
    promote_by_policy(store, version, model.model.contract, model.record)
    assert 2 == champion_version(store)
    assert statuses(served)[-1].startswith("waits for the end of a rollout: ann rolls out")
    abort(store, **ANN)
    reconcile(store)
    assert "candidate" == statuses(served)[-1]


def test_an_alias_that_was_moved_starts_nothing(served: Run, store: ModelRegistry, better: int) -> None:
    """What is not signed lets nobody answer; the next reconcile moves it back."""
    move(served, "challenger", better)
    assert running(store) is None
    reconcile(store)
    assert "challenger" not in aliases(served)
    start(store, better, CANARY, **ANN)
    move(served, "challenger", 1)
    reconcile(store)
    assert better == aliases(served)["challenger"]


def forge(run: Run, name: str, text: str) -> None:
    client(run).set_registered_model_tag(run.scope.namespace, name, text)


def test_a_forged_change_ends_the_rollout(served: Run, store: ModelRegistry, better: int) -> None:
    """A larger share by hand, an old change in a new place, or nonsense: the champion answers alone, and serving goes on."""
    signed = start(store, better, CANARY, **ANN)
    edited = signed.model_copy(update={"number": 2, "at_step": 2}).model_dump_json()
    for number, text in enumerate((edited, signed.model_dump_json(), "nonsense"), start=2):
        forge(served, f"ratchet.rollout.{number:06d}", text)
        assert running(store) is None
        assert 2 == champion_version(store)
    again = start(store, better, CANARY, **ANN)
    assert (5, again) == (again.number, running(store))


def test_another_model_under_the_same_version_goes_no_further(served: Run, store: ModelRegistry, better: int) -> None:
    start(store, better, CANARY, **ANN)
    other = candidate(7).digest
    client(served).set_model_version_tag(served.scope.namespace, str(better), "ratchet.digest", other)
    for use in (lambda: advance(store, **ANN), lambda: load_challenger(store, running(store))):  # type: ignore[arg-type]
        with pytest.raises(GateError, match="another model"):
            use()
    abort(store, **ANN)
    assert running(store) is None


def test_the_policy_ends_the_rollout_that_it_means(store: ModelRegistry, better: int) -> None:
    """An objection that comes late is not about the next rollout."""
    first = start(store, better, CANARY, **ANN)
    abort(store, **ANN)
    second = start(store, better, CANARY, **ANN)
    assert abort(store, by="policy", reason="too slow", started=first.started) is None
    assert second == running(store)
    assert abort(store, by="policy", reason="too slow", started=second.started) is not None
    assert running(store) is None


@pytest.mark.parametrize("changed", [{"by": " "}, {"reason": ""}])
def test_every_change_has_a_name_and_a_reason(store: ModelRegistry, better: int, changed: dict[str, str]) -> None:
    with pytest.raises(RegistryError, match="needs a name and a reason"):
        start(store, better, CANARY, **{**ANN, **changed})


def test_status_shows_the_challenger(served: Run, store: ModelRegistry, better: int) -> None:
    start(store, better, Plan(steps=(25,)), **ANN)
    assert {"version": better, "step": "answers 25%", "by": "ann", "reason": "a try"} == status(store)["rollout"]
    assert statuses(served)[-1] == "challenger: answers 25%"


def rolling_out(run: Run) -> Run:
    """The project, in which the policy rolls out instead of promoting at once."""
    return run.with_settings(serving=ServingSettings(rollout=RolloutSettings(by_policy=True)))


@pytest.fixture
def careful(served: Run) -> Run:
    return rolling_out(served)


def test_the_policy_begins_a_canary(careful: Run) -> None:
    """A superior version of training waits in the shadow for a person; offering it again changes nothing."""
    store = ModelRegistry.open(careful)
    for _ in range(2):
        version = offer_model(careful, candidate(5), candidate().digest)
        found = running(store)
        assert found
        assert (version, "policy", "shadow", 1) == (found.version, found.by, found.step, found.number)
    assert statuses(careful)[-1] == "challenger: predicts in the shadow"
    assert 2 == champion_version(store)
    while advance(store, **ANN):
        pass
    assert version == champion_version(store)


def test_the_policy_does_not_insist(careful: Run) -> None:
    """What a person took back, training may offer again every night: it waits until a person asks for it."""
    store = ModelRegistry.open(careful)
    version = offer_model(careful, candidate(5), candidate().digest)
    abort(store, by="bob", reason="it smells")
    for run in (careful, careful.with_settings(serving=ServingSettings())):
        offer_model(run, candidate(5), candidate().digest)
        assert running(store) is None
        assert 2 == champion_version(store)
        assert statuses(run)[-1].startswith("was taken back by bob: it smells")
    promote(store, version, **ANN)
    assert version == champion_version(store)


def test_the_first_model_is_promoted_at_once(empty_registry: Run, tmp_path: Path) -> None:
    """There is nobody whom it could replace step by step."""
    run = rolling_out(copied(empty_registry, tmp_path / "empty"))
    offer_model(run, baseline(), None)
    assert 1 == champion_version(ModelRegistry.open(run))
