"""The register step: what it registers, and that it may be killed, repeated and run twice at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ratchet.core.errors import GateError, RegistryError
from ratchet.gate.evidence import Gain
from ratchet.model_registry.champion import reference_of, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, rollback
from ratchet.model_registry.status import status
from ratchet.models.model import Model
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.interruptions import counted, fail_at, killed
from tests.support.models import save_noshow
from tests.support.records import good_score, noshow_record
from tests.support.registry import baseline, candidate, client, copied, offer_model, trained
from tests.support.runs import NOSHOW_END
from training_pipeline.register import offer, register

NO_GAIN = Gain(value=0.0, lower=-0.005, upper=0.005)
WORSE = Gain(value=-0.05, lower=-0.08, upper=-0.02)


def offer_next(run: Run, trees: int, **evidence: Any) -> None:
    """Train and judge another candidate, against the one that serves."""
    model = candidate(trees)
    directory = save_noshow(model, run.paths.models / "candidate")
    record = noshow_record(run, model, resolve_champion(ModelRegistry.open(run)).model.digest, directory, **evidence)
    record.write(run.paths.gate / "candidate.json")


def shown(run: Run, version: int) -> str:
    """What MLflow shows on a version's page."""
    return str(client(run).get_model_version(run.scope.namespace, str(version)).description)


def facts(run: Run) -> dict[str, Any]:
    """All that a registration leaves: the registry's story, how its runs ended, and what DVC sees."""
    experiment = client(run).get_experiment_by_name(run.scope.namespace)
    runs = client(run).search_runs([experiment.experiment_id])
    ended = sorted(each.info.status for each in runs if each.info.status != "KILLED")
    return {**status(ModelRegistry.open(run)), "runs": ended, "file": read_json(run.paths.serving_file)}


def test_the_baseline_is_version_1_and_the_candidate_beats_it(unserved: Run) -> None:
    """Both are registered in one step, and the report says what became of them."""
    assert register(trained(unserved)) == {
        "baseline": {"version": 1, "digest": baseline().digest, "status": "served"},
        "candidate": {"version": 2, "digest": candidate().digest, "status": "serving"},
    }


def test_registering_again_changes_nothing(unserved: Run) -> None:
    """The second run reports what the first did, and writes nothing."""
    first = register(trained(unserved))
    with counted() as writes:
        assert register(unserved) == first
    assert writes.done == 0


def test_a_rollback_is_not_undone_by_registering_again(served: Run) -> None:
    """A model that people took out of service does not come back by itself."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    assert register(served)["candidate"]["status"] == "served"
    assert resolve_champion(ModelRegistry.open(served)).version == 1


def test_a_worse_candidate_is_registered_but_not_requested(served: Run) -> None:
    """A refused candidate is a version for the record; both aliases stay."""
    offer_next(served, trees=5, gain=WORSE)
    report = register(served)
    assert report["candidate"]["status"] == "candidate"
    assert (status(ModelRegistry.open(served))["requested"], status(ModelRegistry.open(served))["champion"]) == (2, 2)


def test_a_new_record_replaces_that_of_a_version_that_never_served(served: Run) -> None:
    """What was judged again is judged by its new evidence."""
    offer_next(served, trees=5, gain=WORSE)
    register(served)
    offer_next(served, trees=5)
    assert register(served)["candidate"]["status"] == "serving"


def test_a_version_shows_the_record_that_counts(served: Run) -> None:
    """Its page in MLflow has the card of its record, and a new one when it was judged again, whatever stood there."""
    offer_next(served, trees=5, gain=WORSE)
    register(served)
    assert shown(served, 3).startswith("## Version 3, lightgbm: refused")
    offer_next(served, trees=5, gain=NO_GAIN)
    client(served).update_model_version(served.scope.namespace, "3", "a good one")
    register(served)
    assert shown(served, 3).startswith("## Version 3, lightgbm: non-inferior")
    assert "`requested`" in client(served).get_registered_model(served.scope.namespace).description


def test_the_card_of_a_version_that_served_stays(served: Run) -> None:
    """What people saw when they promoted it is evidence, like its record."""
    before = shown(served, 2)
    offer_model(served, candidate(), baseline().digest, gain=WORSE)
    assert before == shown(served, 2)


def test_a_new_baseline_waits_while_another_model_serves(served: Run) -> None:
    """Only the first baseline is registered; a later one is what candidates are measured against, no more."""
    save_noshow(candidate(6), served.paths.models / "baseline")
    report = register(served)
    assert report["baseline"] == {"version": None, "digest": candidate(6).digest, "status": "not registered"}


def test_a_later_champion_falls_back_on_the_baseline_that_served(served: Run) -> None:
    """Its own baseline is not registered; without any, the service could not answer without features."""
    offer_next(served, 6, reference=good_score("f" * 64))
    register(served)
    champion = resolve_champion(store := ModelRegistry.open(served))
    reference = reference_of(store, champion)
    assert reference
    assert (3, 1, "baseline") == (champion.version, reference.version, reference.model.contract.kind)


def test_a_record_that_is_missing_stops_registration(unserved: Run) -> None:
    """Without a record nothing is registered."""
    (trained(unserved).paths.gate / "baseline.json").unlink()
    with pytest.raises(GateError, match="no record of `evaluate`"):
        register(unserved)
    assert status(ModelRegistry.open(unserved))["versions"] == []


def test_a_record_for_another_model_stops_registration(unserved: Run) -> None:
    """A model that was trained again after it was judged has to be judged again."""
    save_noshow(candidate(6), trained(unserved).paths.models / "candidate")
    with pytest.raises(GateError, match="about model"):
        register(unserved)
    assert [version["kind"] for version in status(ModelRegistry.open(unserved))["versions"]] == ["baseline"]


def test_two_registrations_at_once_make_each_version_once(unserved: Run) -> None:
    """Both report the same, and there are two versions, two promotions and two runs."""
    trained(unserved)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(register, [unserved, unserved])
    assert [entry["version"] for entry in status(ModelRegistry.open(unserved))["history"]] == [1, 2]
    assert facts(unserved)["runs"] == ["FINISHED", "FINISHED"]
    assert {name: model["version"] for name, model in first.items()} == {"baseline": 1, "candidate": 2}
    assert {name: model["version"] for name, model in second.items()} == {"baseline": 1, "candidate": 2}


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.soak)])
def test_a_registration_killed_at_any_point_is_completed_by_the_next(tmp_path: Path, unserved: Run, every: int) -> None:
    """After SIGKILL at points from the first write to the last, running again ends where an undisturbed run ends."""
    trained(unserved)
    undisturbed = copied(unserved, tmp_path / "undisturbed")
    with counted() as writes:
        report = register(undisturbed)
    for number in range(min(every, 2), writes.done + 1, every):
        disturbed = copied(unserved, tmp_path / str(number))
        killed(register, disturbed, at=number)
        assert register(disturbed) == report
        assert facts(disturbed) == facts(undisturbed)


def test_a_model_whose_logging_breaks_off_becomes_one_whole_version(served: Run, tmp_path: Path) -> None:
    """Wherever the database goes away before the version is made, the next attempt makes it, and none is made twice."""
    offer_next(served, trees=5)
    undisturbed = copied(served, tmp_path / "undisturbed")
    report = register(undisturbed)
    for number in (1, 4, 8):
        disturbed = copied(served, tmp_path / str(number))
        with counted(fail_at(number)), pytest.raises(RegistryError, match="the database went away"):
            register(disturbed)
        assert register(disturbed) == report
        assert facts(disturbed) == facts(undisturbed)


def offer_rebuilt(run: Run, model: Model, **evidence: Any) -> int:
    """Offer the same model again, from another commit: an equal digest in other bytes."""
    contract = model.contract.model_copy(update={"commit": "a" * 40})
    directory = save_noshow(replace(model, contract=contract), run.paths.models / "rebuilt")
    return offer(
        ModelRegistry.open(run), directory, noshow_record(run, model, candidate().digest, directory, **evidence)
    )


def test_a_rebuilt_model_takes_the_place_of_one_that_never_served(served: Run) -> None:
    """It is the same version; its files are those that the newer record is about, and its tags say so."""
    refused = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    assert refused == offer_rebuilt(served, candidate(5))
    champion = resolve_champion(ModelRegistry.open(served))
    assert (refused, "a" * 40) == (champion.version, champion.model.contract.commit)
    tags = client(served).get_model_version(served.scope.namespace, str(refused)).tags
    assert ("a" * 40, "superior") == (tags["ratchet.commit"], tags["ratchet.verdict"])


def test_a_rebuilt_model_changes_nothing_of_one_that_served(served: Run) -> None:
    """The files and the record that it served by stay, and so it goes on serving."""
    before = resolve_champion(ModelRegistry.open(served))
    assert 2 == offer_rebuilt(served, candidate())
    after = resolve_champion(ModelRegistry.open(served))
    assert (before.record, before.model.contract) == (after.record, after.model.contract)


def test_files_that_were_not_judged_are_not_registered(served: Run) -> None:
    """An equal model in other bytes than its record names makes no version."""
    directory = save_noshow(candidate(5), served.paths.models / "candidate")
    record = noshow_record(served, candidate(5), candidate().digest, directory)
    save_noshow(candidate(5), directory, rows=50)
    with pytest.raises(GateError, match=r"/candidate: .*files"):
        offer(ModelRegistry.open(served), directory, record)
    assert [1, 2] == [version["version"] for version in status(ModelRegistry.open(served))["versions"]]


def test_offering_a_model_again_restores_what_was_lost_of_it(served: Run) -> None:
    """Whose files were deleted is refused and told to register it again, and that helps."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    source = client(served).get_model_version(served.scope.namespace, str(version)).source
    shutil.rmtree(source.removeprefix("file://"))
    until = NOSHOW_END + timedelta(days=1)
    with pytest.raises(GateError, match="no longer holds the files"):
        promote(ModelRegistry.open(served), version, by="ann", reason="smaller", until=until)
    assert version == offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    assert (
        version
        == promote(ModelRegistry.open(served), version, by="ann", reason="smaller", until=until)["champion"]["version"]
    )


def test_a_rebuilt_model_whose_registration_breaks_off_is_never_half_of_each(served: Run, tmp_path: Path) -> None:
    """Wherever the database goes away, what serves goes on, and offering it again ends as an undisturbed offer does."""
    offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    with counted() as writes:
        offer_rebuilt(copied(served, tmp_path / "undisturbed"), candidate(5), gain=NO_GAIN)
    assert writes.done >= 3
    for number in range(1, writes.done + 1):
        disturbed = copied(served, tmp_path / str(number))
        with counted(fail_at(number)), pytest.raises(RegistryError, match="the database went away"):
            offer_rebuilt(disturbed, candidate(5), gain=NO_GAIN)
        assert candidate().digest == resolve_champion(ModelRegistry.open(disturbed)).model.digest
        version = offer_rebuilt(disturbed, candidate(5), gain=NO_GAIN)
        report = promote(
            ModelRegistry.open(disturbed), version, by="ann", reason="smaller", until=NOSHOW_END + timedelta(days=1)
        )
        assert version == report["champion"]["version"]


def test_a_signing_key_that_is_gone_stops_registration(unserved: Run) -> None:
    """Without the key nothing can be promoted, and nothing is."""
    (trained(unserved).paths.shared_state / "keys" / "gate.key").unlink()
    with pytest.raises(GateError, match="private key"):
        register(unserved)
    assert status(ModelRegistry.open(unserved))["history"] == []


def test_after_the_loss_of_a_key_all_begins_anew(served: Run) -> None:
    """What the key signed counts no longer; without it, models that are judged again serve."""
    shutil.rmtree(served.paths.shared_state / "keys")
    with pytest.raises(RegistryError, match=r"RATCHET_SIGNING_KEY.*registered model noshow-clinic"):
        resolve_champion(ModelRegistry.open(served))
    client(served).delete_registered_model(served.scope.namespace)
    register(trained(served))
    assert resolve_champion(ModelRegistry.open(served)).model.digest == candidate().digest
