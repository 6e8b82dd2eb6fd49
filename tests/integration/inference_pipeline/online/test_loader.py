"""What the loader makes of a registry, and what a serving process makes of that."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from inference_pipeline.online import release_writer
from inference_pipeline.online.instances import REQUESTS
from inference_pipeline.online.load_release import load_predictor
from inference_pipeline.online.loader import Loader
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.release import BASELINE, MODEL, RELEASE
from inference_pipeline.online.release_folder import KEPT, ReleaseFolder
from inference_pipeline.online.shared import Shared
from ratchet.core.errors import GateError, OtherFeaturesError
from ratchet.model_registry import promotion
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.compiled.compiled_model import BOOSTER, PARTS
from ratchet.models.model_files import REFERENCE
from ratchet.project.run import Run
from ratchet.storage.arrow import to_columns
from tests.support.killing import contents
from tests.support.planted_functions import never_in_the_north
from tests.support.registry import client, copied
from tests.support.runs import write_settings
from tests.support.variants import with_use_case

INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-08-01T00:00:00Z"}


@pytest.fixture
def run(serving_project: Run, tmp_path: Path) -> Run:
    return copied(serving_project, tmp_path / "project")


@pytest.fixture
def folder(run: Run) -> Path:
    """The release of version 2, just made."""
    Loader(run).refresh()
    return serving(run)


def load(run: Run, folder: Path) -> Predictor:
    return load_predictor(run, folder, Shared.of(run))


def serving(run: Run) -> Path:
    releases = ReleaseFolder.of(run)
    name = releases.current().release
    assert name
    return releases.folder(name)


def test_a_release_says_what_the_champion_says(run: Run, folder: Path) -> None:
    """To the bit, and the baseline that it was judged against is there, too."""
    champion = load_champion(ModelRegistry.open(run))
    predictor = load(run, folder)
    rows = to_columns(pq.read_table(champion.directory / REFERENCE))
    assert champion.model.predict(rows).tobytes() == predictor.arms.champion.predict(rows).tobytes()
    assert (2, 1) == (predictor.release.champion.version, predictor.release.baseline.version)  # type: ignore[union-attr]
    assert predictor.baseline
    assert 1 < len(np.unique(predictor.arms.champion.predict(rows)))


def test_nothing_is_made_again(run: Run, folder: Path) -> None:
    """While reconcile announces nothing else, and also if another loader begins."""
    before = contents(run.paths.releases)
    loader = Loader(run)
    loader.refresh()
    loader.refresh()
    assert before == contents(run.paths.releases)


def test_a_promotion_makes_another_release(run: Run, folder: Path) -> None:
    """And back again the first one serves, which is still there."""
    loader, registry = Loader(run), ModelRegistry.open(run)
    promotion.rollback(registry, by="test", reason="to see it followed")
    loader.refresh()
    assert folder != serving(run)
    assert folder.is_dir()
    assert not (serving(run) / BASELINE).exists()
    before = contents(folder)
    promotion.promote(registry, version=2, by="test", reason="and back")
    loader.refresh()
    assert (folder, before) == (serving(run), contents(folder))


@pytest.mark.parametrize("file", [RELEASE, f"{MODEL}/{BOOSTER}", f"{BASELINE}/{PARTS}"])
def test_an_edited_release_is_refused_and_made_again(run: Run, folder: Path, file: str) -> None:
    """Whatever was edited: the description is signed, and names the content of every other file."""
    before, path = contents(folder), folder / file
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(GateError):
        load(run, folder)
    (run.paths.releases / "current.json").unlink()
    Loader(run).refresh()
    assert {*before} == {*contents(serving(run))}
    load(run, serving(run))


def test_code_that_was_changed_since_the_start_does_not_serve(run: Run, folder: Path) -> None:
    """The release was made for other functions than this process has."""
    other = with_use_case(run, postprocess=never_in_the_north)
    with pytest.raises(OtherFeaturesError):
        load(other, folder)


def test_without_a_registry_the_last_release_stays(run: Run, folder: Path) -> None:
    """The problem is said, and gone when the registry is back."""
    promotion.rollback(ModelRegistry.open(run), by="test", reason="to see it followed")
    database = run.paths.shared_state / "mlflow.db"
    database.rename(away := database.with_name("away"))
    loader = Loader(run)
    loader.refresh()
    assert folder == serving(run)
    assert "registry" in ReleaseFolder.of(run).current().problem
    away.rename(database)
    loader.refresh()
    assert folder != serving(run)
    assert "" == ReleaseFolder.of(run).current().problem


def test_a_champion_that_may_not_serve_leaves_the_last_accepted_one(run: Run, folder: Path) -> None:
    """A person has to act; meanwhile what was accepted goes on."""
    promotion.rollback(ModelRegistry.open(run), by="test", reason="to see it followed")
    client(run).delete_model_version(run.scope.namespace, "1")
    Loader(run).refresh()
    slot = ModelSlot(run)
    slot.refresh()
    assert 2 == slot.predictor.release.champion.version
    assert "deleted" in slot.problem
    slot.close()


def test_a_refused_champion_is_examined_less_and_less_often(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until something else is announced, or the last pause is over: then it may be whole again."""
    now, looks = [0.0], list[float]()

    def refuse(*_: object) -> None:
        looks.append(now[0])
        raise GateError("was changed", subject="model", remedy="Put it back")

    loader = Loader(run, lambda: now[0])
    promotion.rollback(ModelRegistry.open(run), by="test", reason="to see it followed")
    with monkeypatch.context() as patched:
        patched.setattr(release_writer, "write_release", refuse)
        for second in range(300):
            now[0] = float(second)
            loader.refresh()
    assert [0, 1, 3, 7, 15, 31, 63, 123, 183, 243] == looks
    now[0] = 303.0
    loader.refresh()
    assert (folder, "") != (serving(run), ReleaseFolder.of(run).current().problem)
    assert "" == ReleaseFolder.of(run).current().problem


def test_a_lost_store_is_noticed_without_the_loader(run: Run, folder: Path) -> None:
    """The baseline answers in place of a model whose features would all be missing."""
    slot = ModelSlot(run)
    slot.refresh()
    with closing(slot):
        asked = slot.predictor.instances[REQUESTS].read_rows([INSTANCE])
        assert ["fresh"] == [row.rung for row in asyncio.run(slot.predictor.predict(asked)).rows]
        (run.paths.state / "feast_online.db").unlink()
        slot.check_store()
        assert ["baseline"] == [row.rung for row in asyncio.run(slot.predictor.predict(asked)).rows]
        assert {"store"} == {*slot.problems}


def test_swaps_leave_one_connection_to_the_online_store(run: Run, folder: Path) -> None:
    """However many releases answered one after the other, and although nobody looks for cycles of references meanwhile."""
    slot, registry = ModelSlot(run), ModelRegistry.open(run)
    served = []
    with closing(slot), no_collection():
        for number in range(4):
            Loader(run).refresh()
            slot.refresh()
            asked = slot.predictor.instances[REQUESTS].read_rows([INSTANCE])
            served += [row.model_version for row in asyncio.run(slot.predictor.predict(asked)).rows]
            if number % 2:
                promotion.promote(registry, version=2, by="test", reason="and back")
            else:
                promotion.rollback(registry, by="test", reason="to see it followed")
        assert [2, 1, 2, 1] == served
        assert 1 == open_files(run.paths.state / "feast_online.db")


@contextmanager
def no_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def open_files(path: Path) -> int:
    """How often this process has opened a file."""
    return [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()].count(str(path.resolve()))


def test_where_nothing_was_promoted_nothing_serves(empty_registry: Run, tmp_path: Path) -> None:
    run = copied(empty_registry, tmp_path / "empty")
    Loader(run).refresh()
    slot = ModelSlot(run)
    slot.refresh()
    assert not slot.ready
    assert ReleaseFolder.of(run).current().release is None


def test_a_disk_that_takes_nothing_does_not_end_the_polling(run: Run, folder: Path) -> None:
    """What was said stays, so that workers see that nothing new is; the next call does what was not done."""
    promotion.rollback(ModelRegistry.open(run), by="test", reason="to see it followed")
    run.paths.releases.rename(away := run.paths.releases.with_name("away"))
    run.paths.releases.write_text("in the way")
    loader = Loader(run)
    loader.refresh()
    run.paths.releases.unlink()
    away.rename(run.paths.releases)
    assert folder == serving(run)
    loader.refresh()
    assert folder != serving(run)


def test_only_the_last_releases_are_kept(run: Run, folder: Path) -> None:
    """The one that serves is always among them."""
    for number in range(KEPT + 2):
        (run.paths.releases / f"v{number}").mkdir()
    (run.paths.releases / "current.json").unlink()
    Loader(run).refresh()
    assert KEPT == len([path for path in run.paths.releases.iterdir() if path.is_dir()])
    assert folder == serving(run)


@pytest.fixture
def alone(run: Run, folder: Path) -> dict[str, object]:
    """What a process says that loads the release and answers a request, and in which a loader finds nothing new."""
    write_settings(run.root, run)
    code = """
        import asyncio, json, sys
        from pathlib import Path
        from inference_pipeline.online.loader import Loader
        from inference_pipeline.online.model_slot import ModelSlot
        from ratchet.project.run import Run
        run = Run.load()
        slot = ModelSlot(run)
        slot.refresh()
        requests = slot.predictor.instances[""].read_json(sys.stdin.buffer.read())
        answer = asyncio.run(slot.predictor.predict(requests))
        slot.close()
        loader = Loader(run)
        loader.refresh()
        loader.judge()
        heavy = {"mlflow", "feast", "sklearn", "pandas", "scipy", "lightgbm", "duckdb"} & set(sys.modules)
        print(json.dumps({"heavy": sorted(heavy), "rungs": [row.rung for row in answer.rows]}))
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", lines],
        input=json.dumps({"instances": [INSTANCE]}),
        capture_output=True,
        text=True,
        check=False,
        cwd=run.root,
        env={"PYTHONPATH": str(Path(__file__).parents[4]), "PATH": ""},
    )
    assert not done.returncode, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_serving_process_needs_no_library_of_training(alone: dict[str, object]) -> None:
    """Neither MLflow nor Feast nor scikit-learn nor pandas: it starts in no time, and takes little memory. Nor does a loader
    that has nothing to examine."""
    assert {"heavy": [], "rungs": ["fresh"]} == alone
