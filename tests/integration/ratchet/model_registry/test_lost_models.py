"""A registry that lost something: `dvc repro` notices, and what its messages say to do helps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from ratchet.core.errors import RegistryError
from ratchet.model_registry import embedded_database
from ratchet.model_registry.champion import champion_version, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, release, rollback
from ratchet.model_registry.sensors import sense
from ratchet.model_registry.status import status
from ratchet.project import step_reports as reports
from ratchet.project.reconcile import reconcile
from ratchet.project.run import Run
from ratchet.storage import sqlite
from tests.support.models import save_noshow
from tests.support.registry import (
    WORSE,
    artifacts,
    baseline,
    candidate,
    client,
    move,
    offer_model,
    statuses,
    stored_record,
)
from tests.support.remedies import follow
from training_pipeline.register import register

Lose = Callable[[Run, int], None]


def lose_files(run: Run, version: int) -> None:
    """The model's files go, and this checkout's copy of them."""
    shutil.rmtree(run.paths.state / "models", ignore_errors=True)
    (artifacts(run, version) / "model.skops").unlink()


def spoil_files(run: Run, version: int) -> None:
    """The model's archive becomes another one."""
    shutil.rmtree(run.paths.state / "models", ignore_errors=True)
    (artifacts(run, version) / "model.skops").write_bytes(b"other")


def lose_record(run: Run, version: int) -> None:
    stored_record(run, version).unlink()


def open_problem(run: Run) -> RegistryError:
    """Why nothing may serve."""
    with pytest.raises(RegistryError) as caught:
        resolve_champion(ModelRegistry.open(run))
    return caught.value


@pytest.fixture
def registered(served: Run) -> Run:
    """A project whose register step has reported, as after `dvc repro`."""
    reports.run_step(served, "register", register)
    return served


def lose_folder(run: Run, version: int) -> None:
    """All that MLflow has of the model goes, and this checkout's copy."""
    shutil.rmtree(run.paths.state / "models", ignore_errors=True)
    shutil.rmtree(artifacts(run, version))


def lose_description(run: Run, version: int) -> None:
    """Only the file goes that MLflow loads a model by."""
    (artifacts(run, version) / "MLmodel").unlink()


def loaded_by_mlflow(run: Run) -> object:
    """The model that everybody gets who asks MLflow for the champion."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(sqlite.url(embedded_database.file(ModelRegistry.open(run))))
    try:
        return mlflow.pyfunc.load_model(f"models:/{run.scope.namespace}@champion")
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("lose", [lose_files, spoil_files, lose_record, lose_folder])
def test_what_a_serving_version_lost_is_noticed_and_put_back(registered: Run, lose: Lose) -> None:
    """The sensor names its digest; the command in the message gives the version back its own files and record."""
    lose(registered, 2)
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["missing"] == [candidate().digest]
    assert follow(registered, open_problem(registered).remedy.partition("Otherwise")[0]) is None
    assert resolve_champion(ModelRegistry.open(registered)).version == 2
    assert loaded_by_mlflow(registered)
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["missing"] == []
    assert len(status(ModelRegistry.open(registered))["history"]) == 2


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def change_archive(folder: Path) -> None:
    (folder / "model.skops").write_bytes((folder / "model.skops").read_bytes()[::-1])


def empty_description(folder: Path) -> None:
    (folder / "MLmodel").write_text("", encoding="utf-8")


def remove_requirements(folder: Path) -> None:
    (folder / "requirements.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "step"),
    [
        (remove, register),
        (remove, reconcile),
        (change_archive, reconcile),
        (empty_description, reconcile),
        (remove_requirements, reconcile),
    ],
)
def test_what_mlflow_lost_is_put_back_from_the_copy(
    registered: Run, spoil: Callable[[Path], None], step: Callable[[Run], object]
) -> None:
    """Though what serves is whole for Ratchet itself; the run that notices puts it back to the byte, and then is quiet."""
    resolve_champion(ModelRegistry.open(registered))  # makes the copy
    folder = artifacts(registered, 2)
    archive = (folder / "model.skops").read_bytes()
    spoil(folder)
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["missing"] == [candidate().digest]
    step(registered)
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["missing"] == []
    assert archive == (folder / "model.skops").read_bytes()
    assert loaded_by_mlflow(registered)


def test_a_file_of_somebody_else_s_is_no_loss(registered: Run) -> None:
    """What was logged is there."""
    (artifacts(registered, 2) / "notes.txt").write_text("good", encoding="utf-8")
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["missing"] == []


def test_a_champion_of_which_the_last_training_knows_nothing_is_put_back_too(registered: Run) -> None:
    """The copy is what is needed, not the trained model."""
    resolve_champion(ModelRegistry.open(registered))
    save_noshow(candidate(5), registered.paths.models / "candidate")
    remove(artifacts(registered, 2))
    reconcile(registered)
    assert loaded_by_mlflow(registered)


@pytest.mark.parametrize("spoil", [lose_folder, lose_description])
def test_nothing_is_written_where_the_folder_of_all_artifacts_is_away(registered: Run, spoil: Lose) -> None:
    """It may come back: no other takes its place."""
    resolve_champion(ModelRegistry.open(registered))
    spoil(registered, 2)
    shutil.move(registered.paths.shared_state / "mlartifacts", registered.paths.shared_state / "away")
    reconcile(registered)
    assert not (registered.paths.shared_state / "mlartifacts").exists()


@pytest.mark.parametrize("is_deleted", [True, False])
def test_the_alias_that_everybody_loads_is_restored(registered: Run, is_deleted: bool) -> None:
    """Deleted, or moved to a version that is refused: the sensor makes reconcile run, and that puts it back."""
    before = registered.paths.requested_file.read_bytes() if registered.paths.requested_file.exists() else b""
    if is_deleted:
        client(registered).delete_registered_model_alias(registered.scope.namespace, "champion")
    else:
        move(registered, "champion", offer_model(registered, candidate(5), candidate().digest, gain=WORSE))
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["champion"] == (
        "deleted" if is_deleted else 3
    )
    assert registered.paths.requested_file.read_bytes() != before
    reconcile(registered)
    assert 2 == client(registered).get_model_version_by_alias(registered.scope.namespace, "champion").version
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["champion"] is None


def test_the_baseline_that_a_rollback_leads_to_is_put_back_too(registered: Run) -> None:
    """It is noticed before anybody needs it."""
    lose_files(registered, 1)
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["missing"] == [baseline().digest]
    register(registered)
    assert rollback(ModelRegistry.open(registered), by="ann", reason="slow")["champion"]["version"] == 1


def test_nothing_but_the_very_files_that_were_judged_is_put_back(registered: Run) -> None:
    """What was trained meanwhile, with the same digest but other files, takes no place of evidence."""
    lose_files(registered, 2)
    (registered.paths.models / "candidate" / "reference.parquet").write_bytes(b"other")
    follow(registered, open_problem(registered).remedy.partition("Otherwise")[0])
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["missing"] == [candidate().digest]


@pytest.mark.parametrize("command", ["ratchet rollback", "ratchet promote"])
def test_a_serving_version_that_was_deleted_gives_way_as_the_message_says(registered: Run, command: str) -> None:
    """Either way of it leads to the version before."""
    client(registered).delete_model_version(registered.scope.namespace, "2")
    remedy = open_problem(registered).remedy
    assert follow(registered, next(f"`{part}`" for part in remedy.split("`") if part.startswith(command))) is None
    assert resolve_champion(ModelRegistry.open(registered)).version == 1


def test_what_waits_for_a_person_serves_by_the_command_that_stands_on_it(served: Run) -> None:
    """The status names a command to promote, which ends the hold."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    version = offer_model(served, candidate(5), baseline().digest)
    assert follow(served, statuses(served)[-1].partition("asks for this")[0]) is None
    assert (champion_version(ModelRegistry.open(served)), status(ModelRegistry.open(served))["hold"]) == (version, None)


@pytest.mark.parametrize("tag", ["ratchet.history.000001", "ratchet.history.000002"])
def test_an_edited_history_makes_reconcile_run_and_say_so(registered: Run, tag: str) -> None:
    """DVC sees it in the file that reconcile depends on; once the tag is restored the file is as it was."""
    before = registered.paths.requested_file.read_bytes()
    text = client(registered).get_registered_model(registered.scope.namespace).tags[tag]
    client(registered).set_registered_model_tag(registered.scope.namespace, tag, text.replace("policy", "nobody"))
    sense([ModelRegistry.open(registered)])
    assert registered.paths.requested_file.read_bytes() != before
    with pytest.raises(RegistryError, match=tag):
        reconcile(registered)
    client(registered).set_registered_model_tag(registered.scope.namespace, tag, text)
    sense([ModelRegistry.open(registered)])
    assert registered.paths.requested_file.read_bytes() == before


def test_a_history_that_ends_before_what_serves_is_noticed(registered: Run) -> None:
    """The last entry deleted by hand names another version than the serving file does."""
    client(registered).delete_registered_model_tag(registered.scope.namespace, "ratchet.history.000002")
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["history"] == 1
    reconcile(registered)
    assert sense([ModelRegistry.open(registered)])[registered.scope.namespace]["history"] is None


def test_releasing_and_promoting_in_any_order_leaves_the_hold_of_a_rollback_alone(served: Run) -> None:
    """A rollback after a release holds again, and one to nowhere changes nothing."""
    rollback(ModelRegistry.open(served), by="ann", reason="slow")
    release(ModelRegistry.open(served), by="ann", reason="fixed")
    promote(ModelRegistry.open(served), 2, by="ann")
    rollback(ModelRegistry.open(served), by="ann", reason="slow, too")
    with pytest.raises(RegistryError, match="no version"):
        rollback(ModelRegistry.open(served), by="ann", reason="slower")
    hold = status(ModelRegistry.open(served))["hold"]
    assert (champion_version(ModelRegistry.open(served)), hold and hold["reason"]) == (1, "slow, too")


@pytest.mark.parametrize(("by", "reason"), [("ann", ""), ("ann", " \t"), ("", "slow")])
def test_no_hold_begins_or_ends_without_a_name_and_a_reason(served: Run, by: str, reason: str) -> None:
    """The history would say of neither why; nothing is written."""
    for entry in (rollback, release):
        with pytest.raises(RegistryError, match="name and a reason"):
            entry(ModelRegistry.open(served), by=by, reason=reason)
    assert len(status(ModelRegistry.open(served))["history"]) == 2
