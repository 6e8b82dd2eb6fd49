"""The embedded registry's files: who makes them, what happens while they are away, and that they may be moved."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import mlflow
import pytest

from inference_pipeline.online.loader import Loader
from inference_pipeline.online.release_folder import ReleaseFolder
from ratchet.core.environment import Environment
from ratchet.core.errors import RegistryError, RegistryUnavailableError
from ratchet.model_registry import embedded_database
from ratchet.model_registry.champion import champion_version, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, reconcile, release, rollback
from ratchet.model_registry.sensors import sense
from ratchet.model_registry.status import status
from ratchet.models.model import frame
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from tests.support.models import noshow_columns
from tests.support.registry import NO_GAIN, WORSE, candidate, create_registry, offer_model
from tests.support.runs import noshow_project
from training_pipeline.register import register

NOTHING = {"requested": None, "champion": None, "previous": None, "hold": None, "versions": [], "history": []}
Question = Callable[[ModelRegistry], object]
QUESTIONS: dict[str, Question] = {
    "status": status,
    "champion_version": champion_version,
    "resolve_champion": resolve_champion,
    "sense": lambda store: sense([store]),
    "reconcile": reconcile,
    "promote": lambda store: promote(store, 1, by="ann"),
    "rollback": lambda store: rollback(store, by="ann", reason="slow"),
    "release": lambda store: release(store, by="ann", reason="fixed"),
}


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


@pytest.fixture
def away(served: Run, tmp_path: Path) -> Path:
    """Where the database of `served` is while somebody has taken it away."""
    return embedded_database.file(ModelRegistry.open(served)).rename(tmp_path / "mlflow.db.away")


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_nobody_who_reads_makes_a_registry_that_is_away(served: Run, away: Path, question: Question) -> None:
    """Its absence is an error that names the file, and the file can be put back."""
    before = content(served.root)
    with pytest.raises(RegistryError, match=r"mlflow\.db: is gone.*[Rr]estore it"):
        question(ModelRegistry.open(served))
    assert before == content(served.root)
    away.rename(embedded_database.file(ModelRegistry.open(served)))
    assert 2 == resolve_champion(ModelRegistry.open(served)).version


def test_a_registry_that_is_gone_is_not_registered_anew(served: Run, away: Path) -> None:
    """Where models were registered, registration does not begin an empty registry until somebody says so."""
    with pytest.raises(RegistryError, match="to begin anew, delete"):
        register(served)
    with pytest.raises(RegistryError, match="is gone"):
        create_registry(served)
    assert not embedded_database.file(ModelRegistry.open(served)).exists()
    embedded_database.marker(ModelRegistry.open(served)).unlink()
    create_registry(served)
    assert NOTHING.items() <= status(ModelRegistry.open(served)).items()


def test_another_use_case_does_not_take_the_place_of_a_registry_that_is_gone(served: Run, away: Path) -> None:
    """The database is that of the whole checkout: also the first model of a use case needs the one that is away."""
    other = served.with_settings(source=served.settings.source.model_copy(update={"name": "hospital"}))
    with pytest.raises(RegistryError, match="is gone"):
        create_registry(other)


@pytest.mark.parametrize(("leave", "what"), [(Path.touch, "empty file"), (Path.mkdir, "folder")])
def test_what_stands_in_its_place_is_no_registry(
    served: Run, away: Path, leave: Callable[[Path], None], what: str
) -> None:
    """What a full disk or a mistaken command left there is named, and not filled."""
    path = embedded_database.file(ModelRegistry.open(served))
    leave(path)
    before = path.stat()
    for question in (lambda run: status(ModelRegistry.open(run)), create_registry):
        with pytest.raises(RegistryUnavailableError, match=f"{what}.* delete .* and the {what}"):
            question(served)
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)


def test_a_fresh_checkout_has_an_empty_registry_and_no_file(tmp_path: Path) -> None:
    """Who asks before anything was registered learns just that, and leaves nothing behind but what it reports."""
    run = noshow_project(tmp_path)
    assert NOTHING.items() <= status(ModelRegistry.open(run)).items()
    assert champion_version(ModelRegistry.open(run)) is None
    with pytest.raises(RegistryError, match="promoted"):
        resolve_champion(ModelRegistry.open(run))
    with pytest.raises(RegistryError, match="no version 1"):
        promote(ModelRegistry.open(run), 1, by="ann")
    assert set() == content(tmp_path)
    assert {run.scope.namespace: {"requested": None, "champion": None, "history": None, "missing": []}} == sense(
        [ModelRegistry.open(run)]
    )
    assert {"champion": None, "refused": None} == reconcile(ModelRegistry.open(run))
    assert {"requested": None, "champion": None, "history": None} == read_json(run.paths.requested_file)
    assert not embedded_database.file(ModelRegistry.open(run)).exists()


def test_models_that_are_kept_elsewhere_are_missed_without_the_variable(empty_registry: Run, tmp_path: Path) -> None:
    """Who forgets RATCHET_TRACKING_URI does not begin a second registry beside the first."""
    elsewhere = shutil.copy(embedded_database.file(ModelRegistry.open(empty_registry)), tmp_path / "elsewhere.db")
    run = noshow_project(tmp_path / "project")
    create_registry(replace(run, environment=Environment(tracking_uri=f"sqlite:///{elsewhere}")))
    with pytest.raises(RegistryError, match="RATCHET_TRACKING_URI"):
        create_registry(run)


def test_a_sqlite_file_that_is_named_is_made_by_registration_alone(empty_registry: Run, tmp_path: Path) -> None:
    """RATCHET_TRACKING_URI may name a file: who reads it while it is away makes none, and its absence is told."""
    path = tmp_path / "shared.db"
    run = replace(noshow_project(tmp_path / "project"), environment=Environment(tracking_uri=f"sqlite:///{path}"))
    assert NOTHING.items() <= status(ModelRegistry.open(run)).items()
    shutil.copy(embedded_database.file(ModelRegistry.open(empty_registry)), path)
    create_registry(run)
    path.unlink()
    for question in (lambda run: status(ModelRegistry.open(run)), create_registry):
        with pytest.raises(RegistryError, match=r"shared\.db: is gone.*RATCHET_TRACKING_URI"):
            question(run)
    assert not path.exists()


def test_a_registry_that_is_put_back_while_one_is_made_stays(served: Run, away: Path) -> None:
    """Of a database that is being made and one that is restored meanwhile, the restored one is the registry."""
    path = embedded_database.file(ModelRegistry.open(served))
    embedded_database.marker(ModelRegistry.open(served)).unlink()
    making = Thread(target=create_registry, args=(served,))
    making.start()
    while making.is_alive() and not list(path.parent.glob(f".{path.name}.*.tmp")):
        pass
    away.rename(path)
    inode = path.stat().st_ino
    making.join()
    assert (inode, 2) == (path.stat().st_ino, resolve_champion(ModelRegistry.open(served)).version)
    assert [] == list(path.parent.glob(f".{path.name}.*"))


def test_readers_survive_a_registry_that_comes_and_goes(served: Run, tmp_path: Path) -> None:
    """Threads that read while the database is taken away and put back a hundred times see all of it or an error."""
    path, away, over = embedded_database.file(ModelRegistry.open(served)), tmp_path / "away.db", Event()

    def read() -> set[int]:
        seen = set()
        while not over.is_set():
            with suppress(RegistryError):
                seen.add(len(status(ModelRegistry.open(served))["versions"]))
        return seen

    inode = path.stat().st_ino
    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for _ in range(100):
            path.rename(away)
            assert not path.exists()
            os.link(away, path)  # as a restore does it that replaces nothing
            away.unlink()
        over.set()
        assert all(reader.result() <= {2} for reader in readers)
    assert (inode, 2) == (path.stat().st_ino, resolve_champion(ModelRegistry.open(served)).version)


def test_the_service_goes_on_while_the_registry_is_away(served: Run, tmp_path: Path) -> None:
    """That the database is gone says nothing about the model that is loaded."""
    loader = Loader(served)
    loader.refresh()
    accepted = ReleaseFolder.of(served).current()
    served.paths.serving_file.unlink()
    embedded_database.file(ModelRegistry.open(served)).rename(tmp_path / "away.db")
    loader.refresh()
    said = ReleaseFolder.of(served).current()
    assert accepted.release == said.release is not None
    assert said.problem


def test_a_registry_that_took_the_place_of_another_is_read(served: Run, empty_registry: Run) -> None:
    """A process that goes on, as the service does, looks at the file that is there now, not at the one that it opened."""
    assert 2 == champion_version(ModelRegistry.open(served))
    path = embedded_database.file(ModelRegistry.open(served))
    kept = path.rename(path.with_suffix(".kept"))
    shutil.copy(embedded_database.file(ModelRegistry.open(empty_registry)), path)
    assert champion_version(ModelRegistry.open(served)) is None
    kept.replace(path)
    assert 2 == champion_version(ModelRegistry.open(served))


ODD = "a?b [1] #%20 & 'é'"


def test_a_moved_registry_is_used_where_it_is(served: Run, tmp_path: Path) -> None:
    """Models, records and new runs are found in the folder that the checkout is in now, whatever its name."""
    moved = replace(served, root=served.root.rename(tmp_path / ODD))
    shutil.rmtree(moved.paths.state / "models")  # so that the registry itself has to give the files
    assert 2 == resolve_champion(ModelRegistry.open(moved)).version
    version = offer_model(moved, candidate(5), candidate().digest)
    assert (3, 3) == (version, resolve_champion(ModelRegistry.open(moved)).version)
    assert 1 == promote(ModelRegistry.open(moved), 1, by="ann")["champion"]["version"]
    assert [ODD] == [path.name for path in tmp_path.iterdir()]


def test_after_a_move_mlflow_finds_the_models_too(served: Run, tmp_path: Path) -> None:
    """Once a command has run in the new place, MLflow's own functions load what they loaded in the old one."""
    moved = replace(served, root=served.root.rename(tmp_path / "elsewhere"))
    status(ModelRegistry.open(moved))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(embedded_database.tracking_uri(ModelRegistry.open(moved)))
    rows = frame(candidate().contract.inputs, noshow_columns(20))
    assert 20 == len(mlflow.pyfunc.load_model(f"models:/{moved.scope.namespace}/2").predict(rows))
    mlflow.set_tracking_uri(before)


def test_a_copy_leaves_the_registry_it_was_copied_from_alone(served: Run, tmp_path: Path) -> None:
    """What is logged anew in a copy of a checkout does not change the artifacts of the first."""
    before = {
        path: path.read_bytes()
        for path in embedded_database.artifacts(ModelRegistry.open(served)).rglob("*")
        if path.is_file()
    }
    copy = replace(served, root=Path(shutil.copytree(served.root, tmp_path / "copy")))
    for gain in (WORSE, NO_GAIN):
        offer_model(copy, candidate(5), candidate().digest, gain=gain)
    shutil.rmtree(embedded_database.artifacts(ModelRegistry.open(copy)))
    after = {
        path: path.read_bytes()
        for path in embedded_database.artifacts(ModelRegistry.open(served)).rglob("*")
        if path.is_file()
    }
    assert before == after
    assert 2 == resolve_champion(ModelRegistry.open(served)).version


def test_artifacts_that_are_away_are_looked_for_by_name(served: Run, tmp_path: Path) -> None:
    """That the folder of all artifacts is absent is no verdict on a version: nothing is refused, and it may come back."""
    folder = embedded_database.artifacts(ModelRegistry.open(served))
    away = folder.rename(tmp_path / "away")
    for question in (resolve_champion, lambda run: promote(run, 1, by="ann")):
        with pytest.raises(RegistryUnavailableError, match=re.escape(str(folder))):
            question(ModelRegistry.open(served))
    away.rename(folder)
    assert {"served", "serving"} >= {version["status"] for version in status(ModelRegistry.open(served))["versions"]}
    assert 1 == reconcile(ModelRegistry.open(served))["champion"]["version"]


@pytest.mark.parametrize("kept", [0.3, 0.0], ids=["cut off", "something else"])
def test_a_file_that_is_no_whole_database_has_to_be_restored(served: Run, kept: float) -> None:
    """The remedy is about the file, not about locks or room, and to begin anew names what to delete."""
    path = embedded_database.file(ModelRegistry.open(served))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)] or b"no database at all " * 100)
    with pytest.raises(RegistryError) as caught:
        status(ModelRegistry.open(served))
    assert "restore it" in caught.value.remedy
    assert str(embedded_database.marker(ModelRegistry.open(served))) in caught.value.remedy
    path.write_bytes(whole)
    assert resolve_champion(ModelRegistry.open(served)).version == 2
