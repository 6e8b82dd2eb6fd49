"""What this code cannot serve never comes to serve, and where the code was changed under the champion every way on helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from inference_pipeline.online.loader import Loader
from inference_pipeline.online.release_folder import ReleaseFolder
from ratchet.core.errors import GateError, OtherFeaturesError
from ratchet.features.service import service_spec
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.champion import champion_version, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, reconcile, rollback
from ratchet.model_registry.status import status
from ratchet.models.model import Model
from ratchet.project.run import Run
from tests.support.models import noshow_candidate, noshow_contract
from tests.support.registry import WORSE, client, move, offer_model, statuses
from tests.support.remedies import follow
from tests.support.variants import with_use_case


@pytest.fixture
def changed(served: Run) -> Run:
    """The project `served`, versions 1 and 2 of which were trained on more features than its code now computes."""
    inputs = {name: kind for name, kind in served.use_case.inputs.items() if name != "hour"}
    return with_use_case(served, inputs=inputs)


def on_its_features(run: Run, trees: int = 5) -> Model:
    """A model on the features that the project's code computes."""
    contract = noshow_contract(run).model_copy(update={"inputs": dict(run.use_case.inputs)})
    return noshow_candidate(contract, rows=600, trees=trees)


def offered(run: Run, trees: int = 5, **evidence: object) -> int:
    """The version of such a model, which beats what serves."""
    return offer_model(
        run, on_its_features(run, trees), resolve_champion(ModelRegistry.open(run)).model.digest, **evidence
    )


def ask_to_go_back(run: Run) -> None:
    rollback(ModelRegistry.open(run), by="ann", reason="slow")


def ask_for_the_second(run: Run) -> None:
    promote(ModelRegistry.open(run), 2, by="ann", reason="it was better")


def test_the_service_of_former_code_says_to_start_it_again(changed: Run, served: Run) -> None:
    """The other remedies are for the checkout, whose code may be another one by now."""
    offered(changed)
    Loader(served).refresh()
    problem = ReleaseFolder.of(served).current().problem
    with pytest.raises(GateError) as elsewhere:
        load_champion(ModelRegistry.open(served))
    assert "Start the service again" in problem
    assert elsewhere.value.remedy in problem


@pytest.mark.parametrize("ask", [ask_to_go_back, ask_for_the_second])
def test_nobody_can_ask_for_what_this_code_cannot_serve(changed: Run, ask: Callable[[Run], None]) -> None:
    """The error names both feature services and the commit of the version, and what served goes on serving."""
    assert offered(changed) == champion_version(ModelRegistry.open(changed)) == 3
    with pytest.raises(GateError) as caught:
        ask(changed)
    text, spec = str(caught.value), service_spec(changed.use_case)
    assert spec.name in text
    assert resolve_champion(ModelRegistry.open(changed)).model.contract.feature_service == spec.name
    assert f"`git checkout {'c' * 12}`" in caught.value.remedy
    assert (3, 3) == (
        load_champion(ModelRegistry.open(changed)).version,
        len(status(ModelRegistry.open(changed))["history"]),
    )


def test_a_rollback_that_cannot_be_leaves_no_request(changed: Run, served: Run) -> None:
    """A reconcile by the former code grants nothing that nobody asks for any more."""
    offered(changed)
    with pytest.raises(GateError):
        ask_to_go_back(changed)
    assert 3 == status(ModelRegistry.open(changed))["requested"]
    assert 3 == reconcile(ModelRegistry.open(served))["champion"]["version"]


def test_the_refusal_names_a_version_that_can_serve(changed: Run) -> None:
    """Where another version on the present features served, its command leads there."""
    offered(changed)
    offered(changed, trees=7)
    promote(ModelRegistry.open(changed), 3, by="ann")
    with pytest.raises(GateError) as caught:
        promote(ModelRegistry.open(changed), 1, by="ann")
    assert follow(changed, caught.value.remedy) is None
    assert 4 == load_champion(ModelRegistry.open(changed)).version


def test_where_the_serving_version_was_deleted_no_rollback_is_proposed_that_cannot_be(changed: Run) -> None:
    """The version before is on features that this code does not compute."""
    offered(changed)
    client(changed).delete_model_version(changed.scope.namespace, "3")
    assert "`ratchet rollback" not in (status(ModelRegistry.open(changed))["warning"] or "")


@pytest.mark.parametrize("alias", ["requested", "champion"])
def test_a_hand_in_mlflow_makes_nothing_serve_that_this_code_cannot(changed: Run, alias: str) -> None:
    """The reconcile refuses it on the version, and `champion` is where it was."""
    offered(changed)
    move(changed, alias, 2)
    assert "feature service" in reconcile(ModelRegistry.open(changed))["refused"]["reason"]
    assert "refused" in statuses(changed)[1]
    assert 3 == client(changed).get_model_version_by_alias(changed.scope.namespace, "champion").version
    assert 3 == load_champion(ModelRegistry.open(changed)).version


def test_no_policy_promotes_what_this_code_cannot_serve(served: Run, changed: Run) -> None:
    """A superior model that was trained before the code changed, and is registered after it."""
    offer_model(changed, on_its_features(served), resolve_champion(ModelRegistry.open(changed)).model.digest)
    assert 2 == champion_version(ModelRegistry.open(changed))
    assert "feature service" in statuses(changed)[-1]


def objection(run: Run) -> GateError:
    with pytest.raises(OtherFeaturesError) as caught:
        load_champion(ModelRegistry.open(run))
    return caught.value


@pytest.mark.parametrize("is_held", [True, False])
def test_where_the_code_changed_under_the_champion_a_version_that_can_serve_is_named(
    served: Run, changed: Run, is_held: bool
) -> None:
    """The code of before rolled back to, or promoted, what today's cannot serve: the command leads to what it can."""
    offered(changed)
    if is_held:
        rollback(ModelRegistry.open(served), by="ann", reason="slow")
    else:
        offered(served, trees=7)
    assert is_held == (status(ModelRegistry.open(served))["hold"] is not None)
    remedy = objection(changed).remedy
    assert remedy in status(ModelRegistry.open(changed))["warning"]
    assert status(ModelRegistry.open(served))["warning"] is None
    assert f"`git checkout {'c' * 12}`" in remedy
    assert follow(changed, remedy) is None
    assert 3 == load_champion(ModelRegistry.open(changed)).version


def test_a_superior_model_that_waits_for_the_end_of_a_hold_is_named(served: Run, changed: Run) -> None:
    """A training after the rollback made it; asking for it ends the hold."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    version = offered(changed)
    assert 1 == champion_version(ModelRegistry.open(changed))
    assert follow(changed, objection(changed).remedy) is None
    assert version == load_champion(ModelRegistry.open(changed)).version


def test_a_refused_model_on_the_present_features_is_named_with_its_reason(changed: Run) -> None:
    """Training again would make the same one."""
    offered(changed, gain=WORSE)
    text = objection(changed).remedy
    assert "Version 3" in text
    assert "ratchet:non-inferior" in text


@pytest.mark.parametrize("is_held", [True, False])
def test_the_first_model_on_the_present_features_is_trained(served: Run, changed: Run, is_held: bool) -> None:
    """Under a hold it is released first, or what is trained would wait."""
    if is_held:
        rollback(ModelRegistry.open(served), by="ann", reason="slow")
    commands = re.findall(r"`((?:ratchet|dvc) [^`]+)`", objection(changed).remedy)
    assert is_held == any(command.startswith("ratchet release") for command in commands)
    assert any(command.startswith("dvc repro monitor@") for command in commands)
    if is_held:
        assert follow(changed, f"`{commands[0]}`") is None
        assert offered(changed) == load_champion(ModelRegistry.open(changed)).version


def test_uncommitted_features_have_no_commit_to_go_back_to(served: Run, changed: Run) -> None:
    """The message says so, and names no commit."""
    model = on_its_features(served)
    model = replace(model, contract=model.contract.model_copy(update={"dirty": True}))
    promote(
        ModelRegistry.open(served),
        offer_model(served, model, resolve_champion(ModelRegistry.open(served)).model.digest),
        by="ann",
    )
    remedy = objection(changed).remedy
    assert "never committed" in remedy
    assert "git checkout" not in remedy
