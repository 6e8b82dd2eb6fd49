"""The embedded registry's files: who makes them, what happens while they are away, and that they may be moved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from inference_pipeline.online.serving import Serving
from ratchet import embedded_registry
from ratchet.errors import RegistryError
from ratchet.project import Project
from ratchet.promotion import promote, reconcile, resolve_champion, rollback, serving_version, status, write_wishes
from ratchet.settings import Stores
from ratchet.tables import read_json
from tests.support.champions import fixed_predictor
from tests.support.projects import noshow_project
from tests.support.registry import create_registry
from training_pipeline.register import register

NOTHING = {"wish": None, "serving": None, "previous": None, "versions": [], "history": []}
Question = Callable[[Project], object]
QUESTIONS: dict[str, Question] = {
    "status": status,
    "serving_version": serving_version,
    "resolve_champion": resolve_champion,
    "write_wishes": lambda project: write_wishes([project]),
    "reconcile": reconcile,
    "promote": lambda project: promote(project, 1, by="ann"),
    "rollback": lambda project: rollback(project, by="ann", reason="slow"),
}


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


@pytest.fixture
def away(served: Project, tmp_path: Path) -> Path:
    """Where the database of `served` is while somebody has taken it away."""
    return embedded_registry.database(served).rename(tmp_path / "mlflow.db.away")


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_nobody_who_reads_makes_a_registry_that_is_away(served: Project, away: Path, question: Question) -> None:
    """Its absence is an error that names the file, and the file can be put back."""
    before = content(served.root)
    with pytest.raises(RegistryError, match=r"mlflow\.db: is gone.*[Rr]estore it"):
        question(served)
    assert before == content(served.root)
    away.rename(embedded_registry.database(served))
    assert 2 == resolve_champion(served).version


def test_a_registry_that_is_gone_is_not_registered_anew(served: Project, away: Path) -> None:
    """Where models were registered, registration does not begin an empty registry until somebody says so."""
    with pytest.raises(RegistryError, match="to begin anew, delete"):
        register(served)
    with pytest.raises(RegistryError, match="is gone"):
        create_registry(served)
    assert not embedded_registry.database(served).exists()
    embedded_registry.marker(served).unlink()
    create_registry(served)
    assert NOTHING == status(served)


def test_another_use_case_does_not_take_the_place_of_a_registry_that_is_gone(served: Project, away: Path) -> None:
    """The database is that of the whole checkout: also the first model of a use case needs the one that is away."""
    other = served.with_settings(source=served.settings.source.model_copy(update={"name": "hospital"}))
    with pytest.raises(RegistryError, match="is gone"):
        create_registry(other)


def test_an_empty_file_is_no_registry(served: Project, away: Path) -> None:
    """What a full disk or a mistaken command left in its place is named, and not filled."""
    path = embedded_registry.database(served)
    path.touch()
    for question in (status, create_registry):
        with pytest.raises(RegistryError, match="is an empty file"):
            question(served)
    assert 0 == path.stat().st_size


def test_a_fresh_checkout_has_an_empty_registry_and_no_file(tmp_path: Path) -> None:
    """Who asks before anything was registered learns just that, and leaves nothing behind but what it reports."""
    project = noshow_project(tmp_path)
    assert NOTHING == status(project)
    assert serving_version(project) is None
    with pytest.raises(RegistryError, match="no model has been promoted yet"):
        resolve_champion(project)
    with pytest.raises(RegistryError, match="there is no version 1"):
        promote(project, 1, by="ann")
    assert set() == content(tmp_path)
    assert {project.namespace: None} == write_wishes([project])
    assert {"serving": None, "refused": None} == reconcile(project)
    assert {"version": None} == read_json(project.wish_file)
    assert not embedded_registry.database(project).exists()


def test_models_that_are_kept_elsewhere_are_missed_without_the_variable(
    empty_registry: Project, tmp_path: Path
) -> None:
    """Who forgets RATCHET_TRACKING_URI does not begin a second registry beside the first."""
    elsewhere = shutil.copy(embedded_registry.database(empty_registry), tmp_path / "elsewhere.db")
    project = noshow_project(tmp_path / "project")
    create_registry(replace(project, stores=Stores(tracking_uri=f"sqlite:///{elsewhere}")))
    with pytest.raises(RegistryError, match="RATCHET_TRACKING_URI"):
        create_registry(project)


def test_a_registry_that_is_put_back_while_one_is_made_stays(served: Project, away: Path) -> None:
    """Of a database that is being made and one that is restored meanwhile, the restored one is the registry."""
    path = embedded_registry.database(served)
    embedded_registry.marker(served).unlink()
    making = Thread(target=create_registry, args=(served,))
    making.start()
    while making.is_alive() and not list(path.parent.glob(f".{path.name}.*.tmp")):
        pass
    away.rename(path)
    inode = path.stat().st_ino
    making.join()
    assert (inode, 2) == (path.stat().st_ino, resolve_champion(served).version)
    assert [] == list(path.parent.glob(f".{path.name}.*"))


def test_readers_survive_a_registry_that_comes_and_goes(served: Project, tmp_path: Path) -> None:
    """Threads that read while the database is taken away and put back a hundred times see all of it or an error."""
    path, away, over = embedded_registry.database(served), tmp_path / "away.db", Event()

    def read() -> set[int]:
        seen = set()
        while not over.is_set():
            with suppress(RegistryError):
                seen.add(len(status(served)["versions"]))
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
    assert (inode, 2) == (path.stat().st_ino, resolve_champion(served).version)


def test_the_service_goes_on_while_the_registry_is_away(served: Project, tmp_path: Path) -> None:
    """That the database is gone says nothing about the model that is loaded."""
    predictor = fixed_predictor(served)
    serving = Serving(served, lambda project: replace(predictor, champion=resolve_champion(project)))
    serving.refresh()
    served.serving_file.unlink()
    embedded_registry.database(served).rename(tmp_path / "away.db")
    serving.refresh()
    assert 2 == serving.predictor.champion.version


def test_a_registry_that_took_the_place_of_another_is_read(served: Project, empty_registry: Project) -> None:
    """A process that goes on, as the service does, looks at the file that is there now, not at the one that it opened."""
    assert 2 == serving_version(served)
    path = embedded_registry.database(served)
    kept = path.rename(path.with_suffix(".kept"))
    shutil.copy(embedded_registry.database(empty_registry), path)
    assert serving_version(served) is None
    kept.replace(path)
    assert 2 == serving_version(served)
