"""Wish and fact: what may serve, what is refused and why, and what a killed process leaves to be mended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import GateError, RegistryError
from ratchet.gate_evidence import Gain
from ratchet.gate_record import Waiver
from ratchet.model import CONTRACT, REFERENCE, load
from ratchet.project import Project
from ratchet.promotion import promote, reconcile, resolve_champion, rollback, serving_version, status, write_wishes
from ratchet.settings import SourceSettings
from ratchet.signing import sign
from ratchet.tables import read_json
from tests.support.interruptions import LAZY, counted, fail_at, killed
from tests.support.models import noshow_contract, rewrite_schema, save_noshow
from tests.support.noshow import use_case
from tests.support.projects import NOSHOW_END
from tests.support.records import good_score, noshow_record
from tests.support.registry import (
    baseline,
    candidate,
    client,
    copied,
    offer_model,
)

NO_GAIN = Gain(value=0.0, lower=-0.005, upper=0.005)
WORSE = Gain(value=-0.05, lower=-0.08, upper=-0.02)
NOT_A_NUMBER = good_score(candidate(5).digest).model_copy(update={"metrics": {"log_loss": None}, "invalid": 7})


def statuses(project: Project) -> list[str]:
    return [version["status"] for version in status(project)["versions"]]


def move(project: Project, alias: str, version: int) -> None:
    """What a click in MLflow's UI does."""
    client(project).set_registered_model_alias(project.namespace, alias, str(version))


def gate_record(project: Project, version: int) -> Path:
    """The stored record of a version, where MLflow keeps it."""
    run_id = client(project).get_model_version(project.namespace, str(version)).run_id
    folder = client(project).get_run(run_id).info.artifact_uri.removeprefix("file://")
    return next(Path(folder, "gate").iterdir())


def artifacts(project: Project, version: int) -> Path:
    """The stored model of a version, where MLflow keeps it."""
    return Path(client(project).get_model_version(project.namespace, str(version)).source.removeprefix("file://"))


def test_a_superior_candidate_takes_the_place_of_the_baseline(served: Project) -> None:
    """The baseline is version 1; a candidate that beats it serves, and the baseline is where a rollback leads."""
    found = status(served)
    assert (found["wish"], found["serving"], found["previous"]) == (2, 2, 1)
    assert statuses(served) == ["served", "serving"]


def test_the_champion_is_the_model_that_was_offered(served: Project) -> None:
    """What is resolved has the candidate's digest, version and gate record, and a directory with its reference rows."""
    champion = resolve_champion(served)
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
        ({"candidate": NOT_A_NUMBER}, "it failed predictions:candidate, metrics:candidate, calibration, ranking"),
    ],
    ids=["worse", "same", "missing gain", "missing leak check", "NaN"],
)
def test_a_candidate_that_is_not_shown_to_be_better_is_refused(
    served: Project, evidence: dict[str, Any], reason: str
) -> None:
    """Whoever promotes it is told why; the refusal stands on the version, and what served goes on serving."""
    version = offer_model(served, candidate(5), candidate().digest, **evidence)
    with pytest.raises(GateError, match=f"refused: {reason}"):
        promote(served, version, by="ann", reason="I like it")
    assert statuses(served)[-1] == f"refused: {reason}"
    assert resolve_champion(served).version == 2


def test_a_wish_that_nobody_spoke_is_written_where_dvc_looks(served: Project, unserved: Project) -> None:
    """A moved alias shows until it serves; where nothing is wished for, or nothing was ever registered, nothing does."""
    names = [served.namespace, with_namespace(unserved).namespace]
    projects = [served, with_namespace(unserved)]
    assert dict.fromkeys(names) == write_wishes(projects)
    move(served, "champion", 1)
    assert {names[0]: 1, names[1]: None} == write_wishes(projects)
    assert {"version": 1} == read_json(served.wish_file)
    reconcile(served)
    assert {"version": None} == read_json(served.wish_file)


def with_namespace(project: Project) -> Project:
    """The project, under the name of another source."""
    return project.with_settings(source=SourceSettings(name="hospital", path="x"))


def test_a_refused_wish_stays_to_be_seen(served: Project) -> None:
    """Until it is taken back, so that nobody believes that it came true."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    move(served, "champion", version)
    reconcile(served)
    assert {served.namespace: version} == write_wishes([served])


def test_the_very_model_that_serves_is_no_candidate(served: Project) -> None:
    """A record that compares a model with itself promotes nothing and replaces no evidence."""
    before = gate_record(served, 2).read_bytes()
    assert offer_model(served, candidate(), candidate().digest) == 2
    assert gate_record(served, 2).read_bytes() == before
    assert len(status(served)["history"]) == 2


def test_a_record_against_another_champion_is_refused(served: Project) -> None:
    """A candidate that was compared with a model that serves no more has to be evaluated again."""
    version = offer_model(served, candidate(5), baseline().digest)
    compared, serving = baseline().digest[:12], candidate().digest[:12]
    assert statuses(served)[version - 1] == f"refused: it compares with {compared}, but {serving} serves"


def test_a_first_version_that_was_compared_with_nothing_must_be_first(served: Project) -> None:
    """A record without champion lets a model serve only where nothing serves."""
    version = offer_model(served, candidate(5), None)
    assert statuses(served)[version - 1] == f"refused: it compares with nothing, but {candidate().digest[:12]} serves"


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"lower": -0.08', '"lower": 0.08'))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * 100)


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (edit, "the signature does not fit: it was edited, or signed with another key"),
        (truncate, "holds no gate record"),
        (garble, "holds no gate record"),
        (Path.unlink, "holds no gate record"),
    ],
)
def test_a_tampered_record_is_refused(served: Project, tamper: Callable[[Path], None], reason: str) -> None:
    """A record that was edited, cut off or deleted in the artifact store lets nothing through."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    tamper(gate_record(served, version))
    with pytest.raises(GateError, match=reason):
        promote(served, version, by="eve")
    assert resolve_champion(served).version == 2


def test_a_record_of_another_model_is_refused(served: Project) -> None:
    """A good record does not help a model that it is not about."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    other = noshow_record(served, candidate(6), candidate().digest)
    gate_record(served, version).write_text(other.model_dump_json())
    move(served, "champion", version)
    reason = f"it is about model {candidate(6).digest[:12]}, not {candidate(5).digest[:12]}"
    assert reconcile(served)["refused"] == {"version": version, "reason": reason}


def test_a_record_is_not_registered_for_another_model(unserved: Project) -> None:
    """Offering a model with the record of another is an error, and makes no version."""
    with pytest.raises(GateError, match="it is about model"):
        offer_model(unserved, baseline(), None, candidate=good_score("a" * 64))
    assert status(unserved)["versions"] == []


def test_moving_champion_in_mlflow_is_a_wish(served: Project) -> None:
    """A wish made in MLflow's own UI is judged by the next reconcile, and the history says where it came from."""
    move(served, "champion", 1)
    assert reconcile(served)["serving"] == {"version": 1, "digest": baseline().digest, "previous": None}
    entry = status(served)["history"][-1]
    assert (entry["by"], entry["reason"]) == ("MLflow", "the alias champion was moved")


def test_a_wish_in_somebody_elses_name_is_nobodys(served: Project) -> None:
    """Who can write to MLflow can move champion, but not have the history say that ann did."""
    rollback(served, by="ann", reason="slow")
    promote(served, 2, by="ann", reason="not so slow")
    spoken = client(served).get_registered_model(served.namespace).tags["ratchet.wish"]
    forged = spoken.replace('"version":2', '"version":1').replace('"after":3', '"after":4')
    client(served).set_registered_model_tag(served.namespace, "ratchet.wish", forged)
    move(served, "champion", 1)
    reconcile(served)
    entry = status(served)["history"][-1]
    assert (entry["version"], entry["by"]) == (1, "MLflow")


def test_a_version_made_by_hand_is_refused(served: Project) -> None:
    """Pointing champion at a version that never saw the gate changes nothing but that version's status."""
    source = client(served).get_model_version(served.namespace, "2").source
    client(served).create_model_version(served.namespace, source)
    move(served, "champion", 3)
    refused = reconcile(served)["refused"]
    assert refused == {"version": 3, "reason": "was not registered through the gate"}
    assert statuses(served) == ["served", "serving", "refused: was not registered through the gate"]


@pytest.mark.parametrize(
    ("run_id", "reason"), [(None, "was not registered through the gate"), ("a" * 32, "holds no gate record")]
)
def test_a_version_made_by_hand_with_a_digest_is_refused(served: Project, run_id: str | None, reason: str) -> None:
    """Tags that look like ours help no version without a run that holds a record, and stop nobody else."""
    source = client(served).get_model_version(served.namespace, "2").source
    tags = {"ratchet.digest": candidate(5).digest}
    client(served).create_model_version(served.namespace, source, run_id, tags)
    move(served, "champion", 3)
    assert reconcile(served)["refused"] == {"version": 3, "reason": reason}
    assert resolve_champion(served).version == 2


def test_serving_moved_by_hand_stops_readers_until_it_is_reconciled(served: Project) -> None:
    """The alias `serving` at an ungated version yields no model; reconcile puts it back."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    move(served, "serving", version)
    with pytest.raises(RegistryError, match="Run `ratchet stage reconcile`"):
        resolve_champion(served)
    reconcile(served)
    assert resolve_champion(served).version == 2


def test_a_version_that_became_another_model_does_not_return(served: Project) -> None:
    """A version that served once has no more right to serve when its digest was changed since."""
    client(served).set_model_version_tag(served.namespace, "1", "ratchet.digest", candidate(5).digest)
    move(served, "champion", 1)
    reason = f"it is about model {baseline().digest[:12]}, not {candidate(5).digest[:12]}"
    assert reconcile(served)["refused"]["reason"] == reason


def test_a_previous_version_that_was_deleted_is_no_way_back(served: Project) -> None:
    """Deleting the version before in MLflow disturbs nothing, but there is nothing left to roll back to."""
    client(served).delete_model_version(served.namespace, "1")
    assert reconcile(served)["serving"]["version"] == 2
    with pytest.raises(RegistryError, match="there is no version to return to"):
        rollback(served, by="ann", reason="slow")


def test_a_withdrawn_wish_leaves_its_refusal(served: Project) -> None:
    """When champion goes back to what serves nothing is pending, and the refused version still says why."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    move(served, "champion", version)
    reconcile(served)
    move(served, "champion", 2)
    assert reconcile(served)["refused"] is None
    assert statuses(served)[-1] == "refused: it failed ratchet:non-inferior, ratchet:superior"


def test_a_waiver_lets_an_equal_model_serve(served: Project) -> None:
    """A non-inferior model serves under a name, a reason and a date, which the history keeps."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    promote(served, version, by="ann", reason="half the size", until=NOSHOW_END + timedelta(days=30))
    entry = status(served)["history"][-1]
    assert (entry["version"], entry["by"], entry["reason"]) == (version, "ann", "half the size")


def test_a_waiver_that_has_expired_waives_nothing(served: Project) -> None:
    """A date that has passed is as good as no waiver."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError, match="refused: it is for"):
        promote(served, version, by="ann", reason="half the size", until=NOSHOW_END)


def test_a_waiver_does_not_help_a_worse_model(served: Project) -> None:
    """Only non-inferiority can be waived through."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    with pytest.raises(GateError, match="it failed ratchet:non-inferior"):
        promote(served, version, by="ann", reason="half the size", until=NOSHOW_END + timedelta(days=30))


def test_a_waiver_needs_a_reason(served: Project) -> None:
    """An end date alone is an error, before anything is written."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError, match="waives nothing without a name and a reason"):
        promote(served, version, by="ann", until=NOSHOW_END + timedelta(days=30))
    assert status(served)["wish"] == 2


def test_an_edited_waiver_is_refused(served: Project) -> None:
    """Prolonging a waiver in MLflow breaks its signature."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    with pytest.raises(GateError):
        promote(served, version, by="ann", reason="half the size", until=NOSHOW_END)
    tags = client(served).get_model_version(served.namespace, str(version)).tags
    longer = tags["ratchet.waiver"].replace("2024-", "2034-")
    client(served).set_model_version_tag(served.namespace, str(version), "ratchet.waiver", longer)
    refused = reconcile(served)["refused"]
    assert refused["reason"] == "the signature does not fit: it was edited, or signed with another key"


def test_rollbacks_lead_back_step_by_step(served: Project) -> None:
    """Each rollback returns to what served before that version; at the first one there is nowhere left."""
    offer_model(served, candidate(5), candidate().digest)
    versions = [rollback(served, by="ann", reason="slow")["serving"]["version"] for _ in range(2)]
    assert versions == [2, 1]
    with pytest.raises(RegistryError, match="there is no version to return to"):
        rollback(served, by="ann", reason="slow")


def test_the_history_says_who_and_why(served: Project) -> None:
    """Every move is an entry with version, predecessor, digest, name, reason and the instant of the project's clock."""
    rollback(served, by="ann", reason="slow")
    assert status(served)["history"][1:] == [
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


def test_a_forged_history_yields_no_model(served: Project) -> None:
    """An entry that this checkout's key did not sign stops readers and reconcile alike, and says so."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    tags = client(served).get_registered_model(served.namespace).tags
    forged = tags["ratchet.history.000002"].replace('"number":2,"version":2', f'"number":3,"version":{version}')
    client(served).set_registered_model_tag(served.namespace, "ratchet.history.000003", forged)
    for step in (resolve_champion, reconcile):
        with pytest.raises(RegistryError, match=r"ratchet\.history\.000003 is not entry 3, signed"):
            step(served)


def test_a_replayed_history_entry_yields_no_model(served: Project) -> None:
    """A signed entry counts only in its own place."""
    tags = client(served).get_registered_model(served.namespace).tags
    client(served).set_registered_model_tag(served.namespace, "ratchet.history.000003", tags["ratchet.history.000001"])
    with pytest.raises(RegistryError, match=r"ratchet\.history\.000003 is not entry 3, signed"):
        resolve_champion(served)


def test_a_history_entry_of_another_model_yields_no_model(served: Project) -> None:
    """An entry that let a model serve under another name lets none serve here, though version and digest are equal."""
    other = with_namespace(served)
    for model, champion, gain in ((baseline(), None, None), (candidate(), baseline().digest, WORSE)):
        named = replace(model, contract=model.contract.model_copy(update={"model_name": other.namespace}))
        version = offer_model(other, named, champion, gain=gain)
    tags = client(served).get_registered_model(served.namespace).tags
    client(other).set_registered_model_tag(other.namespace, "ratchet.history.000002", tags["ratchet.history.000002"])
    move(other, "serving", version)
    for step in (resolve_champion, reconcile):
        with pytest.raises(RegistryError, match=r"ratchet\.history\.000002 is not entry 2, signed"):
            step(other)


def test_a_waiver_for_another_model_waives_nothing(served: Project) -> None:
    """A word that was given for a model under one name does not hold for an equal one under another."""
    version = offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    waiver = Waiver(
        model_name="noshow-hospital",
        candidate=candidate(5).digest,
        by="ann",
        reason="smaller",
        expires=NOSHOW_END + timedelta(days=1),
    )
    text = sign(waiver, served).model_dump_json()
    client(served).set_model_version_tag(served.namespace, str(version), "ratchet.waiver", text)
    with pytest.raises(GateError, match="refused: it is for noshow-hospital"):
        promote(served, version, by="eve")


def test_a_serving_version_that_was_deleted_is_named(served: Project) -> None:
    """Reconcile says what is gone and what to do, and that leads back to a model that serves."""
    client(served).delete_model_version(served.namespace, "2")
    with pytest.raises(
        RegistryError, match=r"version 2, which was promoted last, has been deleted\. Run `ratchet rollb"
    ):
        reconcile(served)
    rollback(served, by="ann", reason="it is gone")
    assert resolve_champion(served).version == 1


def test_nothing_serves_in_an_empty_registry(unserved: Project) -> None:
    """Before the first promotion there is no model, and the error says what to run."""
    assert reconcile(unserved) == {"serving": None, "refused": None}
    assert serving_version(unserved) is None
    assert read_json(unserved.serving_file) == {"version": None, "digest": None, "model": "noshow-clinic"}
    with pytest.raises(RegistryError, match=r"no model has been promoted yet\. Run `dvc repro`"):
        resolve_champion(unserved)


def test_a_version_that_does_not_exist_cannot_be_promoted(served: Project) -> None:
    """The error names the versions that there are."""
    with pytest.raises(RegistryError, match="there is no version 9, only 1, 2"):
        promote(served, 9, by="ann")


def break_booster(directory: Path) -> None:
    """Bend a tree so that LightGBM ends the process that reads it."""
    rewrite_schema(directory, lambda schema: schema.replace("split_feature=", "split_feature=99999 ", 1))


def claim_another_commit(directory: Path) -> None:
    edited = noshow_contract().model_copy(update={"commit": "a" * 40})
    (directory / CONTRACT).write_text(edited.model_dump_json(), encoding="utf-8")


def swap_reference(directory: Path) -> None:
    (directory / REFERENCE).write_bytes(b"what monitoring would compare with")


TAMPERED = [break_booster, claim_another_commit, swap_reference]


def in_another_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What the work returns or raises, where its process lives to say so; BrokenProcessPool where it died."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["ratchet.promotion", "ratchet.model", *LAZY])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def test_a_booster_can_end_the_process_that_reads_it(tmp_path: Path) -> None:
    """LightGBM aborts on the booster that the tests below hide in an archive: whoever parses it is gone."""
    directory = save_noshow(candidate(), tmp_path / "model")
    break_booster(directory)
    with pytest.raises(BrokenProcessPool):
        in_another_process(load, directory, use_case)


@pytest.mark.parametrize("tamper", TAMPERED)
def test_a_version_with_a_tampered_file_is_refused(served: Project, tamper: Callable[[Path], None]) -> None:
    """No file of a version counts but those that were judged, and none other is parsed: the process lives to refuse it."""
    version = offer_model(served, candidate(5), candidate().digest, gain=WORSE)
    tamper(artifacts(served, version))
    move(served, "champion", version)
    refused = in_another_process(reconcile, served)["refused"]
    assert {"version": version, "reason": "no longer holds the files that were judged"} == refused


@pytest.mark.parametrize("tamper", TAMPERED)
def test_a_serving_model_that_was_tampered_with_is_an_error(unserved: Project, tamper: Callable[[Path], None]) -> None:
    """With the registry's files and this checkout's copy spoilt alike there is no model, and a process that says so."""
    version = offer_model(unserved, candidate(), None)
    copy = resolve_champion(unserved).directory
    for directory in (copy, artifacts(unserved, version)):
        tamper(directory)
    with pytest.raises(RegistryError, match=r"no longer holds the files that were judged\. Run `ratchet rollback`"):
        in_another_process(resolve_champion, unserved)


def test_a_serving_model_whose_artifacts_changed_is_not_used(unserved: Project) -> None:
    """Replaced model files yield no model, though the copy that was verified before goes on serving this checkout."""
    offer_model(unserved, baseline(), None)
    save_noshow(candidate(), artifacts(unserved, 1))
    assert resolve_champion(unserved).model.digest == baseline().digest
    (unserved.state / "models" / baseline().digest / "model.skops").unlink()
    with pytest.raises(RegistryError, match="no longer holds the files that were judged"):
        resolve_champion(unserved)


def test_a_spoilt_copy_is_fetched_again(served: Project) -> None:
    """The local copy of a model is worth no more than its digest."""
    (served.state / "models" / candidate().digest / "model.skops").write_bytes(b"spoilt")
    assert resolve_champion(served).model.digest == candidate().digest


def test_reconciling_again_changes_nothing(served: Project) -> None:
    """With nothing to do there is nothing written."""
    report = reconcile(served)
    with counted() as writes:
        assert reconcile(served) == report
    assert writes.done == 0


def test_two_reconciles_at_once_promote_once(served: Project) -> None:
    """Of two that see the same wish, one promotes and the other finds it done."""
    move(served, "champion", 1)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(reconcile, [served, served])
    assert first == second
    assert [entry["version"] for entry in status(served)["history"]] == [1, 2, 1]


def promote_candidate(project: Project) -> None:
    promote(project, 3, by="ann", reason="smaller", until=NOSHOW_END + timedelta(days=1))


def roll_back(project: Project) -> None:
    rollback(project, by="ann", reason="slow")


@pytest.mark.parametrize("move_on", [promote_candidate, roll_back])
def test_a_move_that_breaks_off_at_any_write_is_finished_by_the_next(
    served: Project, tmp_path: Path, move_on: Callable[[Project], None]
) -> None:
    """Wherever the database goes away, asking again ends where an undisturbed move ends, without a second entry."""
    offer_model(served, candidate(5), candidate().digest, gain=NO_GAIN)
    undisturbed = copied(served, tmp_path / "undisturbed")
    with counted() as writes:
        move_on(undisturbed)
    assert writes.done >= 5
    for number in range(1, writes.done + 1):
        disturbed = copied(served, tmp_path / str(number))
        with counted(fail_at(number)), pytest.raises(RegistryError, match="the database went away"):
            move_on(disturbed)
        move_on(disturbed)
        assert status(disturbed) == status(undisturbed)
        assert read_json(disturbed.serving_file) == read_json(undisturbed.serving_file)
        assert resolve_champion(disturbed).version == serving_version(undisturbed)


def test_reconcile_finishes_what_a_killed_promotion_began(served: Project) -> None:
    """Between the history's entry and the aliases readers get an error; reconcile alone mends it."""
    with counted(fail_at(4)), pytest.raises(RegistryError):
        rollback(served, by="ann", reason="slow")
    with pytest.raises(RegistryError, match="the alias `serving` is at version 2, but version 1 was promoted last"):
        resolve_champion(served)
    reconcile(served)
    assert resolve_champion(served).version == 1


@pytest.mark.soak
def test_a_reconcile_killed_at_any_write_is_finished_by_the_next(served: Project, tmp_path: Path) -> None:
    """After SIGKILL before each of its writes, running again ends where an undisturbed run ends."""
    move(served, "champion", 1)
    undisturbed = copied(served, tmp_path / "undisturbed")
    with counted() as writes:
        report = reconcile(undisturbed)
    assert writes.done >= 5
    for number in range(1, writes.done + 1):
        disturbed = copied(served, tmp_path / str(number))
        killed(reconcile, disturbed, at=number)
        assert reconcile(disturbed) == report
        assert status(disturbed) == status(undisturbed)
        assert read_json(disturbed.serving_file) == read_json(undisturbed.serving_file)
