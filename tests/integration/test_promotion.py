"""Wish and fact: what may serve, what is refused and why, and what a killed process leaves to be mended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import GateError, RegistryError
from ratchet.gate_record import Gain
from ratchet.project import Project
from ratchet.promotion import promote, reconcile, resolve_champion, rollback, serving_version, status
from ratchet.tables import read_json
from tests.support.interruptions import counted, fail_at
from tests.support.projects import NOSHOW_END
from tests.support.records import good_score, noshow_record
from tests.support.registry import (
    baseline,
    candidate,
    client,
    offer_baseline_and_candidate,
    offer_model,
    registry_project,
)

NO_GAIN = Gain(value=0.0, lower=-0.005, upper=0.005)
WORSE = Gain(value=-0.05, lower=-0.08, upper=-0.02)
UNSCORED = good_score(candidate(5).digest).model_copy(update={"metrics": {"log_loss": float("nan")}})


def statuses(project: Project) -> list[str]:
    return [version["status"] for version in status(project)["versions"]]


def move(project: Project, alias: str, version: int) -> None:
    """What a click in MLflow's UI does."""
    client(project).set_registered_model_alias(project.namespace, alias, str(version))


def gate_record(project: Project, version: int) -> Path:
    """The stored record of a version, where MLflow keeps it."""
    run_id = client(project).get_model_version(project.namespace, str(version)).run_id
    return next(project.shared_state.glob(f"mlartifacts/{run_id}/artifacts/gate/*.json"))


def test_a_superior_candidate_takes_the_place_of_the_baseline(project: Project) -> None:
    """The baseline is version 1; a candidate that beats it serves, and the baseline is where a rollback leads."""
    offer_baseline_and_candidate(project)
    found = status(project)
    assert (found["wish"], found["serving"], found["previous"]) == (2, 2, 1)
    assert statuses(project) == ["served", "serving"]


def test_the_champion_is_the_model_that_was_offered(project: Project) -> None:
    """What is resolved has the candidate's digest, version and gate record, and a directory with its reference rows."""
    offer_baseline_and_candidate(project)
    champion = resolve_champion(project)
    assert (champion.version, champion.model.digest) == (2, candidate().digest)
    assert champion.record.candidate == candidate().digest
    assert (champion.directory / "reference.parquet").exists()


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"gain": WORSE}, "it failed ratchet:non-inferior, ratchet:superior"),
        ({"gain": NO_GAIN}, "not shown to be better, only not to be worse"),
        ({"gain": None}, "it failed ratchet:non-inferior, ratchet:superior"),
        ({"leaks": None}, "it failed leaks"),
        ({"candidate": UNSCORED}, "it failed metrics:candidate"),
    ],
    ids=["worse", "same", "missing gain", "missing leak check", "NaN"],
)
def test_a_candidate_that_is_not_shown_to_be_better_is_refused(
    project: Project, evidence: dict[str, Any], reason: str
) -> None:
    """Whoever promotes it is told why; the refusal stands on the version, and what served goes on serving."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, **evidence)
    with pytest.raises(GateError, match=f"refused: {reason}"):
        promote(project, version, by="ann", reason="I like it")
    assert statuses(project)[-1] == f"refused: {reason}"
    assert resolve_champion(project).version == 2


def test_the_very_model_that_serves_is_no_candidate(project: Project) -> None:
    """A record that compares a model with itself promotes nothing and replaces no evidence."""
    offer_baseline_and_candidate(project)
    before = gate_record(project, 2).read_bytes()
    assert offer_model(project, candidate(), candidate().digest) == 2
    assert gate_record(project, 2).read_bytes() == before
    assert len(status(project)["history"]) == 2


def test_a_record_against_another_champion_is_refused(project: Project) -> None:
    """A candidate that was compared with a model that serves no more has to be evaluated again."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), baseline().digest)
    compared, serving = baseline().digest[:12], candidate().digest[:12]
    assert statuses(project)[version - 1] == f"refused: it compares with {compared}, but {serving} serves"


def test_a_first_version_that_was_compared_with_nothing_must_be_first(project: Project) -> None:
    """A record without champion lets a model serve only where nothing serves."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), None)
    assert statuses(project)[version - 1] == f"refused: it compares with nothing, but {candidate().digest[:12]} serves"


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"lower": -0.08', '"lower": 0.08'))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (edit, "the signature does not fit: it was edited, or signed with another key"),
        (truncate, "holds no gate record"),
        (Path.unlink, "holds no gate record"),
    ],
)
def test_a_tampered_record_is_refused(project: Project, tamper: Callable[[Path], None], reason: str) -> None:
    """A record that was edited, cut off or deleted in the artifact store lets nothing through."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=WORSE)
    tamper(gate_record(project, version))
    with pytest.raises(GateError, match=reason):
        promote(project, version, by="eve")
    assert resolve_champion(project).version == 2


def test_a_record_of_another_model_is_refused(project: Project) -> None:
    """A good record does not help a model that it is not about."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=WORSE)
    other = noshow_record(project, candidate(6), candidate().digest)
    gate_record(project, version).write_text(other.model_dump_json())
    move(project, "champion", version)
    reason = f"it is about model {candidate(6).digest[:12]}, not {candidate(5).digest[:12]}"
    assert reconcile(project)["refused"] == {"version": version, "reason": reason}


def test_a_record_is_not_registered_for_another_model(project: Project) -> None:
    """Offering a model with the record of another is an error, and makes no version."""
    with pytest.raises(GateError, match="it is about model"):
        offer_model(project, baseline(), None, candidate=good_score("a" * 64))
    assert status(project)["versions"] == []


def test_moving_champion_in_mlflow_is_a_wish(project: Project) -> None:
    """A wish made in MLflow's own UI is judged by the next reconcile, and the history says where it came from."""
    offer_baseline_and_candidate(project)
    move(project, "champion", 1)
    assert reconcile(project)["serving"] == {"version": 1, "digest": baseline().digest, "previous": None}
    entry = status(project)["history"][-1]
    assert (entry["by"], entry["reason"]) == ("MLflow", "the alias champion was moved")


def test_a_version_made_by_hand_is_refused(project: Project) -> None:
    """Pointing champion at a version that never saw the gate changes nothing but that version's status."""
    offer_baseline_and_candidate(project)
    source = client(project).get_model_version(project.namespace, "2").source
    client(project).create_model_version(project.namespace, source)
    move(project, "champion", 3)
    refused = reconcile(project)["refused"]
    assert refused == {"version": 3, "reason": "was not registered through the gate"}
    assert statuses(project) == ["served", "serving", "refused: was not registered through the gate"]


def test_serving_moved_by_hand_stops_readers_until_it_is_reconciled(project: Project) -> None:
    """The alias `serving` at an ungated version yields no model; reconcile puts it back."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=WORSE)
    move(project, "serving", version)
    with pytest.raises(RegistryError, match="Run `ratchet stage reconcile`"):
        resolve_champion(project)
    reconcile(project)
    assert resolve_champion(project).version == 2


def test_a_withdrawn_wish_leaves_its_refusal(project: Project) -> None:
    """When champion goes back to what serves nothing is pending, and the refused version still says why."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=WORSE)
    move(project, "champion", version)
    reconcile(project)
    move(project, "champion", 2)
    assert reconcile(project)["refused"] is None
    assert statuses(project)[-1] == "refused: it failed ratchet:non-inferior, ratchet:superior"


def test_a_waiver_lets_an_equal_model_serve(project: Project) -> None:
    """A non-inferior model serves under a name, a reason and a date, which the history keeps."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=NO_GAIN)
    promote(project, version, by="ann", reason="half the size", until=NOSHOW_END + timedelta(days=30))
    entry = status(project)["history"][-1]
    assert (entry["version"], entry["by"], entry["reason"]) == (version, "ann", "half the size")


def test_a_waiver_that_has_expired_waives_nothing(project: Project) -> None:
    """A date that has passed is as good as no waiver."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError, match="refused: it is for"):
        promote(project, version, by="ann", reason="half the size", until=NOSHOW_END)


def test_a_waiver_does_not_help_a_worse_model(project: Project) -> None:
    """Only non-inferiority can be waived through."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=WORSE)
    with pytest.raises(GateError, match="it failed ratchet:non-inferior"):
        promote(project, version, by="ann", reason="half the size", until=NOSHOW_END + timedelta(days=30))


def test_a_waiver_needs_a_reason(project: Project) -> None:
    """An end date alone is an error, before anything is written."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError, match="waives nothing without a name and a reason"):
        promote(project, version, by="ann", until=NOSHOW_END + timedelta(days=30))
    assert status(project)["wish"] == 2


def test_an_edited_waiver_is_refused(project: Project) -> None:
    """Prolonging a waiver in MLflow breaks its signature."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError):
        promote(project, version, by="ann", reason="half the size", until=NOSHOW_END)
    tags = client(project).get_model_version(project.namespace, str(version)).tags
    longer = tags["ratchet.waiver"].replace("2024-", "2034-")
    client(project).set_model_version_tag(project.namespace, str(version), "ratchet.waiver", longer)
    refused = reconcile(project)["refused"]
    assert refused["reason"] == "the signature does not fit: it was edited, or signed with another key"


def test_rollbacks_lead_back_step_by_step(project: Project) -> None:
    """Each rollback returns to what served before that version; at the first one there is nowhere left."""
    offer_baseline_and_candidate(project)
    offer_model(project, candidate(5), candidate().digest)
    served = [rollback(project, by="ann", reason="slow")["serving"]["version"] for _ in range(2)]
    assert served == [2, 1]
    with pytest.raises(RegistryError, match="there is no version to return to"):
        rollback(project, by="ann", reason="slow")


def test_the_history_says_who_and_why(project: Project) -> None:
    """Every move is an entry with version, predecessor, digest, name, reason and the instant of the project's clock."""
    offer_baseline_and_candidate(project)
    rollback(project, by="ann", reason="slow")
    assert status(project)["history"][1:] == [
        {
            "number": 2,
            "version": 2,
            "previous": 1,
            "digest": candidate().digest,
            "by": "policy",
            "reason": "superior by its gate record",
            "at": "2024-08-01T00:00:00Z",
        },
        {
            "number": 3,
            "version": 1,
            "previous": None,
            "digest": baseline().digest,
            "by": "ann",
            "reason": "slow",
            "at": "2024-08-01T00:00:00Z",
        },
    ]


def test_a_forged_history_yields_no_model(project: Project) -> None:
    """An entry that this checkout's key did not sign stops readers and reconcile alike, and says so."""
    offer_baseline_and_candidate(project)
    version = offer_model(project, candidate(5), candidate().digest, gain=WORSE)
    tags = client(project).get_registered_model(project.namespace).tags
    forged = tags["ratchet.history.000002"].replace('"number":2,"version":2', f'"number":3,"version":{version}')
    client(project).set_registered_model_tag(project.namespace, "ratchet.history.000003", forged)
    for step in (resolve_champion, reconcile):
        with pytest.raises(RegistryError, match=r"ratchet\.history\.000003 was not signed with this checkout's key"):
            step(project)


def test_a_replayed_history_entry_yields_no_model(project: Project) -> None:
    """A signed entry counts only in its own place."""
    offer_baseline_and_candidate(project)
    tags = client(project).get_registered_model(project.namespace).tags
    client(project).set_registered_model_tag(
        project.namespace, "ratchet.history.000003", tags["ratchet.history.000001"]
    )
    with pytest.raises(RegistryError, match=r"ratchet\.history\.000003 stands where entry 3 belongs"):
        resolve_champion(project)


def test_nothing_serves_in_an_empty_registry(project: Project) -> None:
    """Before the first promotion there is no model, and the error says what to run."""
    assert reconcile(project) == {"serving": None, "refused": None}
    assert serving_version(project) is None
    assert read_json(project.serving_file) == {"version": None, "digest": None, "model": "noshow-clinic"}
    with pytest.raises(RegistryError, match=r"no model has been promoted yet\. Run `dvc repro`"):
        resolve_champion(project)


def test_a_version_that_does_not_exist_cannot_be_promoted(project: Project) -> None:
    """The error names the versions that there are."""
    offer_baseline_and_candidate(project)
    with pytest.raises(RegistryError, match="there is no version 9, only 1, 2"):
        promote(project, 9, by="ann")


def test_a_serving_model_whose_artifacts_changed_is_not_used(project: Project) -> None:
    """Replaced model files yield no model, though the copy that was verified before goes on serving this checkout."""
    offer_baseline_and_candidate(project)
    first, second = (client(project).get_model_version(project.namespace, number) for number in ("1", "2"))
    Path(second.source.removeprefix("file://"), "model.skops").write_bytes(
        Path(first.source.removeprefix("file://"), "model.skops").read_bytes()
    )
    assert resolve_champion(project).model.digest == candidate().digest
    (project.state / "models" / candidate().digest / "model.skops").unlink()
    with pytest.raises(RegistryError, match="no longer holds the model that was registered"):
        resolve_champion(project)


def test_a_spoilt_copy_is_fetched_again(project: Project) -> None:
    """The local copy of a model is worth no more than its digest."""
    offer_baseline_and_candidate(project)
    (project.state / "models" / candidate().digest / "model.skops").write_bytes(b"spoilt")
    assert resolve_champion(project).model.digest == candidate().digest


def test_reconciling_again_changes_nothing(project: Project) -> None:
    """With nothing to do there is nothing written."""
    offer_baseline_and_candidate(project)
    report = reconcile(project)
    with counted() as writes:
        assert reconcile(project) == report
    assert writes.done == 0


def test_two_reconciles_at_once_promote_once(project: Project) -> None:
    """Of two that see the same wish, one promotes and the other finds it done."""
    offer_baseline_and_candidate(project)
    move(project, "champion", 1)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(reconcile, [project, project])
    assert first == second
    assert [entry["version"] for entry in status(project)["history"]] == [1, 2, 1]


def promote_candidate(project: Project) -> None:
    promote(project, 3, by="ann", reason="smaller", until=NOSHOW_END + timedelta(days=1))


def roll_back(project: Project) -> None:
    rollback(project, by="ann", reason="slow")


@pytest.mark.parametrize("move_on", [promote_candidate, roll_back])
def test_a_move_that_breaks_off_at_any_write_is_finished_by_the_next(
    project: Project, tmp_path: Path, move_on: Callable[[Project], None]
) -> None:
    """Wherever the database goes away, asking again ends where an undisturbed move ends, without a second entry."""
    offer_baseline_and_candidate(project)
    offer_model(project, candidate(5), candidate().digest, gain=NO_GAIN)
    undisturbed = registry_project(tmp_path / "undisturbed", project.shared_state)
    with counted() as writes:
        move_on(undisturbed)
    assert writes.done >= 5
    for number in range(1, writes.done + 1):
        disturbed = registry_project(tmp_path / str(number), project.shared_state)
        with counted(fail_at(number)), pytest.raises(RegistryError, match="the database went away"):
            move_on(disturbed)
        move_on(disturbed)
        assert status(disturbed) == status(undisturbed)
        assert read_json(disturbed.serving_file) == read_json(undisturbed.serving_file)
        assert resolve_champion(disturbed).version == serving_version(undisturbed)


def test_reconcile_finishes_what_a_killed_promotion_began(project: Project) -> None:
    """Between the history's entry and the aliases readers get an error; reconcile alone mends it."""
    offer_baseline_and_candidate(project)
    with counted(fail_at(4)), pytest.raises(RegistryError):
        rollback(project, by="ann", reason="slow")
    with pytest.raises(RegistryError, match="the alias `serving` is at version 2, but version 1 was promoted last"):
        resolve_champion(project)
    reconcile(project)
    assert resolve_champion(project).version == 1
