"""Requests and the champion: what may serve, what is refused and why, where a rollback leads and how it holds."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ratchet.core.errors import GateError, RegistryError
from ratchet.model_registry.champion import champion_version, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, reconcile, release, rollback
from ratchet.model_registry.sensors import sense
from ratchet.model_registry.status import status
from ratchet.project import step_reports as reports
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.messages import missing
from tests.support.records import good_score
from tests.support.registry import (
    NO_GAIN,
    WORSE,
    baseline,
    candidate,
    client,
    move,
    offer_model,
    statuses,
    stored_record,
    with_namespace,
)
from tests.support.runs import NOSHOW_END
from training_pipeline.register import register

NOT_A_NUMBER = good_score(candidate(5).digest).model_copy(update={"metrics": {"log_loss": None}, "invalid": 7})


def test_a_superior_candidate_takes_the_place_of_the_baseline(served: Run) -> None:
    """The baseline is version 1; a candidate that beats it serves, and the baseline is where a rollback leads."""
    found = status(ModelRegistry.open(served))
    assert (found["requested"], found["champion"], found["previous"]) == (2, 2, 1)
    assert statuses(served) == ["served", "serving"]


def test_the_champion_is_the_model_that_was_offered(served: Run) -> None:
    """What is resolved has the candidate's digest, version and gate record, and a directory with its reference rows."""
    champion = resolve_champion(ModelRegistry.open(served))
    assert (champion.version, champion.model.digest) == (2, candidate().digest)
    assert champion.record.candidate == candidate().digest
    assert (champion.directory / "reference.parquet").exists()


@pytest.mark.parametrize(
    ("evidence", "failed"),
    [
        ({"gain": WORSE}, "failed ratchet:non-inferior, ratchet:superior"),
        ({"gain": NO_GAIN}, "better"),
        ({"gain": None}, "failed ratchet:non-inferior, ratchet:superior"),
        ({"leaks": None}, "failed leaks"),
        ({"candidate": NOT_A_NUMBER}, "predictions:candidate, metrics:candidate, calibration, ranking"),
    ],
    ids=["worse", "same", "missing gain", "missing leak check", "NaN"],
)
def test_a_candidate_that_is_not_shown_to_be_better_is_refused(
    served: Run, evidence: dict[str, Any], failed: str
) -> None:
    """Whoever promotes it is told why; the refusal stands on the version, and what served goes on serving."""
    version = offer_model(served, candidate(5), candidate().digest, **evidence)
    with pytest.raises(GateError, match=rf"{failed}[.,]") as raised:
        promote(ModelRegistry.open(served), version, by="ann", reason="I like it")
    assert raised.value.problem.startswith("refused: ")
    assert statuses(served)[-1] == raised.value.problem
    assert resolve_champion(ModelRegistry.open(served)).version == 2


NOTHING = {"requested": None, "champion": None, "history": None, "missing": []}


@pytest.mark.parametrize("alias", ["requested", "champion"])
def test_a_moved_alias_is_written_where_dvc_looks(served: Run, unserved: Run, alias: str) -> None:
    """It shows until it serves; where nothing is requested, or nothing was ever registered, nothing shows."""
    names = [served.scope.namespace, with_namespace(unserved).scope.namespace]
    stores = [ModelRegistry.open(served), ModelRegistry.open(with_namespace(unserved))]
    assert dict.fromkeys(names, NOTHING) == sense(stores)
    move(served, alias, 1)
    assert {names[0]: {**NOTHING, alias: 1}, names[1]: NOTHING} == sense(stores)
    nothing = {name: None for name in NOTHING if name != "missing"}
    assert {**nothing, alias: 1} == read_json(served.paths.requested_file)
    reconcile(ModelRegistry.open(served))
    assert nothing == read_json(served.paths.requested_file)


def test_a_refused_request_stays_to_be_seen(served: Run) -> None:
    """Until it is taken back, so that nobody believes that it was granted."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    move(served, "requested", version)
    reconcile(ModelRegistry.open(served))
    assert {served.scope.namespace: {**NOTHING, "requested": version}} == sense([ModelRegistry.open(served)])


@pytest.mark.parametrize("alias", ["requested", "champion"])
def test_the_alias_that_everybody_loads_never_stays_at_a_refused_version(served: Run, alias: str) -> None:
    """Whichever alias a hand moved: the reason stands on the version, and `champion` is at what serves."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    move(served, alias, version)
    assert reconcile(ModelRegistry.open(served))["refused"]["version"] == version
    champion = client(served).get_model_version_by_alias(served.scope.namespace, "champion")
    assert (champion.version, status(ModelRegistry.open(served))["champion"]) == (2, 2)
    assert "refused" in statuses(served)[-1]


def test_the_champion_is_what_the_history_says(served: Run) -> None:
    """A hand on the alias, or a deleted one, changes nothing of what serves."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    move(served, "champion", version)
    assert (resolve_champion(ModelRegistry.open(served)).version, champion_version(ModelRegistry.open(served))) == (
        2,
        2,
    )
    client(served).delete_registered_model_alias(served.scope.namespace, "champion")
    assert resolve_champion(ModelRegistry.open(served)).version == 2
    reconcile(ModelRegistry.open(served))
    assert client(served).get_model_version_by_alias(served.scope.namespace, "champion").version == 2


def test_the_very_model_that_serves_is_no_candidate(served: Run) -> None:
    """A record that compares a model with itself promotes nothing and replaces no evidence."""
    before = stored_record(served, 2).read_bytes()
    assert offer_model(served, candidate(), candidate().digest) == 2
    assert stored_record(served, 2).read_bytes() == before
    assert len(status(ModelRegistry.open(served))["history"]) == 2


def test_a_record_against_another_champion_is_refused(served: Run) -> None:
    """A candidate that was compared with a model that serves no more has to be evaluated again."""
    version = offer_model(served, candidate(5), baseline().digest)
    compared, serving = baseline().digest[:12], candidate().digest[:12]
    assert re.search(f"^refused: .*{compared}.*{serving}", statuses(served)[version - 1])
    with pytest.raises(GateError, match=r"`ratchet .* stage evaluate`.*`ratchet .* stage register`"):
        promote(ModelRegistry.open(served), version, by="ann")


def test_a_first_version_that_was_compared_with_nothing_must_be_first(served: Run) -> None:
    """A record without champion lets a model serve only where nothing serves."""
    version = offer_model(served, candidate(5), None)
    assert re.search(f"^refused: .*nothing.*{candidate().digest[:12]}", statuses(served)[version - 1])


@pytest.mark.parametrize("alias", ["requested", "champion"])
def test_moving_an_alias_in_mlflow_is_a_request(served: Run, alias: str) -> None:
    """What was asked for in MLflow's own UI is judged by the next reconcile, and the history says where it came from."""
    move(served, alias, 1)
    assert reconcile(ModelRegistry.open(served))["champion"] == {
        "version": 1,
        "digest": baseline().digest,
        "previous": None,
    }
    entry = status(ModelRegistry.open(served))["history"][-1]
    assert (entry["by"], entry["kind"]) == ("MLflow", "rollback")
    assert reconcile(ModelRegistry.open(served))["champion"]["version"] == 1


def better(run: Run, trees: int = 5, **made_by: Any) -> int:
    """The version of a model that beats what serves, made in the given way."""
    model = candidate(trees)
    model = replace(model, contract=model.contract.model_copy(update=made_by))
    return offer_model(run, model, resolve_champion(ModelRegistry.open(run)).model.digest)


@pytest.mark.parametrize("made_by", [{"dirty": True}, {"experiment": "risky-name"}])
def test_uncommitted_work_serves_by_a_person_s_word_alone(served: Run, made_by: dict[str, Any]) -> None:
    """The policy leaves it to wait with the reason on it, and moves no alias; a person may ask for it by name."""
    version = better(served, **made_by)
    found = status(ModelRegistry.open(served))
    assert (found["champion"], found["requested"]) == (2, 2)
    assert "waits for a person" in statuses(served)[-1]
    promote(ModelRegistry.open(served), version, by="ann")
    assert resolve_champion(ModelRegistry.open(served)).version == version


def test_a_model_made_again_from_a_commit_is_promoted_by_policy(served: Run) -> None:
    """What waited because it was uncommitted serves once the same model comes from a clean commit."""
    version = better(served, dirty=True)
    assert better(served) == version == champion_version(ModelRegistry.open(served))


def test_a_rollback_holds_until_it_is_released(served: Run) -> None:
    """No policy promotes over it; after the release the next superior candidate is promoted again."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    better(served)
    assert champion_version(ModelRegistry.open(served)) == 1
    assert [] == missing(statuses(served)[-1], "ann", "version 1 (slow)", "`ratchet release`")
    assert status(ModelRegistry.open(served))["hold"] == {
        "by": "ann",
        "reason": "slow",
        "at": "2024-08-01T00:00:00+00:00",
    }
    release(ModelRegistry.open(served), by="bob", reason="fixed")
    assert (champion_version(ModelRegistry.open(served)), status(ModelRegistry.open(served))["hold"]) == (1, None)
    assert "candidate" == statuses(served)[-1]
    assert better(served, trees=7) == champion_version(ModelRegistry.open(served))


def test_a_promotion_by_a_person_ends_a_hold(served: Run) -> None:
    """Who asks for a version after a rollback has decided anew."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    promote(ModelRegistry.open(served), 2, by="ann", reason="not so slow")
    assert status(ModelRegistry.open(served))["hold"] is None
    assert better(served) == champion_version(ModelRegistry.open(served))


@pytest.mark.parametrize("alias", ["requested", "champion"])
def test_a_rollback_by_hand_in_mlflow_holds_too(served: Run, alias: str) -> None:
    """A version that served before, asked for by an alias, is a person's rollback like any other."""
    move(served, alias, 1)
    reconcile(ModelRegistry.open(served))
    better(served)
    assert champion_version(ModelRegistry.open(served)) == 1


def test_a_release_leads_a_rollback_no_other_way(served: Run) -> None:
    """It is an entry that moves nothing: the way back is the one that it was."""
    offer_model(served, candidate(5), candidate().digest)
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    release(ModelRegistry.open(served), by="ann", reason="fixed")
    assert [entry["version"] for entry in status(ModelRegistry.open(served))["history"]] == [1, 2, 3, 2, 2]
    assert rollback(ModelRegistry.open(served), by="ann", reason="slow, too")["champion"]["version"] == 1


def test_there_is_nothing_to_release_without_a_rollback(served: Run) -> None:
    """Releasing twice is an error that says so, and writes nothing."""
    with pytest.raises(RegistryError, match="no rollback holds"):
        release(ModelRegistry.open(served), by="ann", reason="why not")
    assert len(status(ModelRegistry.open(served))["history"]) == 2


def test_a_registry_that_lost_its_model_is_noticed_and_filled_again(served: Run) -> None:
    """The sensor names the digests that are gone; registering again brings them back, the baseline first."""
    reports.run_step(served, "register", register)
    client(served).delete_registered_model(served.scope.namespace)
    assert (
        sorted([baseline().digest, candidate().digest])
        == sense([ModelRegistry.open(served)])[served.scope.namespace]["missing"]
    )
    reports.run_step(served, "register", register)
    assert sense([ModelRegistry.open(served)]) == {served.scope.namespace: NOTHING}
    assert resolve_champion(ModelRegistry.open(served)).model.digest == candidate().digest


def test_a_previous_version_that_was_deleted_is_no_way_back(served: Run) -> None:
    """Deleting the version before in MLflow disturbs nothing, but there is nothing left to roll back to."""
    client(served).delete_model_version(served.scope.namespace, "1")
    assert reconcile(ModelRegistry.open(served))["champion"]["version"] == 2
    with pytest.raises(RegistryError, match=r"no version.*`ratchet promote VERSION`"):
        rollback(ModelRegistry.open(served), by="ann", reason="slow")


def test_a_withdrawn_request_leaves_its_refusal(served: Run) -> None:
    """When `requested` goes back to what serves nothing is pending, and the refused version still says why."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    move(served, "requested", version)
    reconcile(ModelRegistry.open(served))
    move(served, "requested", 2)
    assert reconcile(ModelRegistry.open(served))["refused"] is None
    assert re.search("^refused: .*ratchet:non-inferior, ratchet:superior$", statuses(served)[-1])


def test_a_waiver_lets_an_equal_model_serve(served: Run) -> None:
    """A non-inferior model serves under a name, a reason and a date, which the history keeps when the tag is gone."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    promote(
        ModelRegistry.open(served), version, by="ann", reason="half the size", until=NOSHOW_END + timedelta(days=30)
    )
    client(served).delete_model_version_tag(served.scope.namespace, str(version), "ratchet.waiver")
    entry = status(ModelRegistry.open(served))["history"][-1]
    assert (entry["version"], entry["by"], entry["reason"]) == (version, "ann", "half the size")
    waiver = {name: entry["waiver"][name] for name in ("by", "reason", "expires")}
    assert waiver == {"by": "ann", "reason": "half the size", "expires": "2024-08-31T00:00:00Z"}


def test_a_waiver_that_it_did_not_take_is_no_part_of_the_history(served: Run) -> None:
    """A superior model is promoted on its evidence, whatever reason and date came with the request."""
    version = offer_model(served, candidate(5), candidate().digest)
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    promote(ModelRegistry.open(served), version, by="ann", reason="back", until=NOSHOW_END + timedelta(days=30))
    assert status(ModelRegistry.open(served))["history"][-1]["waiver"] is None


def test_a_waiver_that_has_expired_waives_nothing(served: Run) -> None:
    """A date that has passed is as good as no waiver."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError, match=f"^noshow-clinic version {version}: refused: .*{NOSHOW_END:%Y-%m-%d}"):
        promote(ModelRegistry.open(served), version, by="ann", reason="half the size", until=NOSHOW_END)


def test_a_waiver_does_not_help_a_worse_model(served: Run) -> None:
    """Only non-inferiority can be waived through."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    with pytest.raises(GateError, match="ratchet:non-inferior"):
        promote(
            ModelRegistry.open(served), version, by="ann", reason="half the size", until=NOSHOW_END + timedelta(days=30)
        )


def test_a_waiver_needs_a_reason(served: Run) -> None:
    """An end date alone is an error, before anything is written."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError, match="--by and --reason"):
        promote(ModelRegistry.open(served), version, by="ann", until=NOSHOW_END + timedelta(days=30))
    assert status(ModelRegistry.open(served))["requested"] == 2


def test_rollbacks_lead_back_step_by_step(served: Run) -> None:
    """Each rollback returns to what served before that version; at the first one there is nowhere left."""
    offer_model(served, candidate(5), candidate().digest)
    versions = [rollback(ModelRegistry.open(served), by="ann", reason="slow")["champion"]["version"] for _ in range(2)]
    assert versions == [2, 1]
    with pytest.raises(RegistryError, match=r"no version.*`ratchet promote VERSION`"):
        rollback(ModelRegistry.open(served), by="ann", reason="slow")


def test_a_rollback_follows_the_history(served: Run) -> None:
    """A hand that moves the alias `previous` sends nobody to a version that was rolled back before."""
    offer_model(served, candidate(5), candidate().digest)
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    move(served, "previous", 3)
    assert 1 == rollback(ModelRegistry.open(served), by="ann", reason="slow")["champion"]["version"]


def test_the_history_says_who_and_why(served: Run) -> None:
    """Every move is an entry with version, predecessor, digest, name, reason and the instant of the project's clock."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    assert status(ModelRegistry.open(served))["history"][1:] == [
        {
            "number": 2,
            "kind": "promotion",
            "version": 2,
            "previous": 1,
            "digest": candidate().digest,
            "by": "policy",
            "reason": "superior by its gate record",
            "waiver": None,
            "at": "2024-08-01T00:00:00Z",
        },
        {
            "number": 3,
            "kind": "rollback",
            "version": 1,
            "previous": None,
            "digest": baseline().digest,
            "by": "ann",
            "reason": "slow",
            "waiver": None,
            "at": "2024-08-01T00:00:00Z",
        },
    ]


def test_a_serving_version_that_was_deleted_is_named(served: Run) -> None:
    """Reconcile says what is gone and what to do, and that leads back to a model that serves."""
    client(served).delete_model_version(served.scope.namespace, "2")
    with pytest.raises(RegistryError, match=r"version 2, .*deleted.*`ratchet rollback --reason …`"):
        reconcile(ModelRegistry.open(served))
    rollback(ModelRegistry.open(served), by="ann", reason="it is gone")
    assert resolve_champion(ModelRegistry.open(served)).version == 1


def test_where_every_version_was_deleted_no_command_asks_for_one(served: Run) -> None:
    """There is none to ask for: what is left is to begin anew."""
    for version in ("1", "2"):
        client(served).delete_model_version(served.scope.namespace, version)
    with pytest.raises(RegistryError, match="registered model") as caught:
        reconcile(ModelRegistry.open(served))
    assert "ratchet promote" not in caught.value.remedy


def test_where_the_serving_version_was_deleted_a_refusal_says_what_the_requested_one_lacks(served: Run) -> None:
    """A non-inferior one needs a reason and a date; with both it serves."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    client(served).delete_model_version(served.scope.namespace, "2")
    with pytest.raises(RegistryError, match=rf"version 2, .*deleted.*Version {version}.*--reason … --until"):
        promote(ModelRegistry.open(served), version, by="ann")
    promote(ModelRegistry.open(served), version, by="ann", reason="it is gone", until=NOSHOW_END + timedelta(days=30))
    assert resolve_champion(ModelRegistry.open(served)).version == version


def test_nothing_serves_in_an_empty_registry(unserved: Run) -> None:
    """Before the first promotion there is no model, and the error says what to run."""
    assert reconcile(ModelRegistry.open(unserved)) == {"champion": None, "refused": None}
    assert champion_version(ModelRegistry.open(unserved)) is None
    assert read_json(unserved.paths.serving_file) == {"version": None, "digest": None, "model": "noshow-clinic"}
    with pytest.raises(RegistryError, match=r"promoted.*`dvc repro monitor@"):
        resolve_champion(ModelRegistry.open(unserved))


def test_a_version_that_does_not_exist_cannot_be_promoted(served: Run) -> None:
    """The error names the versions that there are."""
    with pytest.raises(RegistryError, match=r"version 9, .*1, 2"):
        promote(ModelRegistry.open(served), 9, by="ann")
