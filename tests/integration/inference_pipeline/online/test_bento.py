"""A Bento serves and scores what was packaged, with neither registry nor checkout."""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from inference_pipeline.online.bento import STATE, build
from inference_pipeline.online.instances import REQUESTS, VECTORS
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.score_file import score_file
from ratchet.core.environment import Environment
from ratchet.feature_store.online_store import feast_project, online_store
from ratchet.project.run import Run
from tests.support.registry import copied
from tests.support.runs import write_settings
from tests.support.serving import started

ROWS = 10_000
NOT_SERVING = {"feast", "grpc", "google", "hiredis", "redis", "typeguard"}
"""What only other processes import, or only some settings ask for."""


@dataclass(frozen=True)
class Made:
    """A Bento, the folder of its code, and the project of which it was made."""

    tag: str
    src: Path
    project: Run

    def run(self) -> Run:
        """The Bento as a process in it sees it."""
        return replace(self.project, root=self.src, environment=Environment())


@pytest.fixture(scope="module")
def made(prepared_to_serve: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("bento")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BENTOML_HOME", str(folder / "store"))
        run = copied(prepared_to_serve, folder / "project")
        write_settings(run.root, run)
        tag, releases = build([run])
        assert [2] == [release.champion.version for release in releases]
        assert tag == build([run])[0], "the same releases and code are the same Bento"
        yield Made(tag, folder / "store" / "bentos" / tag.replace(":", "/") / "src", run)


def imports(file: Path) -> Iterator[str]:
    """The packages that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.partition(".")[0] for name in names)


def requests() -> pa.Table:
    """Requests with unknown patients and clinics, and extremes."""
    chance = random.Random(7)
    rows = [
        {
            "patient": f"p{chance.randrange(90)}",
            "clinic": chance.choice(["north", "south", "never seen"]),
            "booked_days_ahead": chance.choice([0, 3, 12, 365]),
            "reminder_at": f"2024-07-{chance.randint(25, 31):02}T09:30:00+09:30",
        }
        for _ in range(ROWS)
    ]
    return pa.Table.from_pylist(rows)


def vectors(run: Run) -> pa.Table:
    """Ready vectors with nulls, categories that were never seen, and extremes."""
    slot, chance = ModelSlot(run), random.Random(7)
    slot.refresh()
    kinds = slot.predictor.instances[VECTORS].kinds
    slot.close()
    texts, numbers = [None, "north", "never seen"], [None, 0.0, -1e300, 1e300, 0.1, 7.5]
    rows = [
        {name: chance.choice(texts if kind == "string" else numbers) for name, kind in kinds.items()}
        for _ in range(ROWS)
    ]
    types = {name: pa.string() if kind == "string" else pa.float64() for name, kind in kinds.items()}
    return pa.Table.from_pylist(rows, pa.schema(types))


@pytest.mark.parametrize("form", [REQUESTS, VECTORS])
def test_it_answers_and_scores_as_the_checkout_does(made: Made, tmp_path: Path, form: str) -> None:
    """Bit for bit: over HTTP, and a file of requests in a process of its own. The online store is that of the checkout."""
    state = made.project.paths.state
    shutil.copytree(
        state, made.run().paths.state, ignore=shutil.ignore_patterns("releases", "prediction_log"), dirs_exist_ok=True
    )
    asked = requests() if form == REQUESTS else vectors(made.run())
    source, target = tmp_path / "asked.parquet", tmp_path / "scored.csv"
    pq.write_table(asked, source)
    assert ROWS == score_file(made.project, source, tmp_path / "expected.parquet", form).rows
    expected = pq.read_table(tmp_path / "expected.parquet")
    assert 20 < len({*expected["prediction"].to_pylist()})

    home = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": ""}
    command = [sys.executable, "-m", "cli", "score", str(source), str(target), *(["--vectors"] if form else [])]
    subprocess.run(command, cwd=made.src, env=home, check=True)
    scored = pyarrow.csv.read_csv(target)
    for name in ("prediction", "model_version", "rung"):
        assert expected[name].to_pylist() == scored[name].to_pylist()

    with started(("bentoml", "serve", made.tag), tmp_path, HOME=str(tmp_path), PYTHONPATH="") as (client, _):
        path = f"/v1/models/{made.project.scope.namespace}{form}:predict"
        answers = [client.post(path, json={"instances": part.to_pylist()}).json() for part in asked.to_batches(1_000)]
    assert expected["prediction"].to_pylist() == [value for answer in answers for value in answer["predictions"]]


def test_nothing_is_missing_in_the_image(made: Made) -> None:
    """Its requirements name all that a serving process imports; the base is one version, and the user is not root."""
    program = (
        "import sys, cli.main, inference_pipeline.online.service, inference_pipeline.online.score_file;"
        "from ratchet.project.run import Run; Run.load().use_case;"
        "files = (getattr(each, '__file__', None) for each in [*sys.modules.values()]);"
        f"print(*(file for file in files if file and file.startswith({str(made.src)!r})))"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=made.src, env=environment, check=True, capture_output=True, text=True
    )
    files = [Path(name) for name in found.stdout.split()]
    assert made.src / "ratchet" / "project" / "run.py" in files
    ours = {path.name for path in made.src.iterdir()}
    imported = {name for file in files for name in imports(file)} - ours - sys.stdlib_module_names - NOT_SERVING
    lines = (made.src / "requirements.txt").read_text(encoding="utf-8").split()
    assert all("==" in line for line in lines)
    distributions = packages_distributions()
    assert {line.partition("==")[0] for line in lines} >= {
        name.lower().replace("_", "-") for each in imported for name in distributions[each][:1]
    }
    docker = (made.src.parent / "env" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    version = ".".join(map(str, sys.version_info[:3]))
    assert [f"FROM python:{version}-slim-bookworm AS base-container"] == [
        line for line in docker.splitlines() if line.startswith("FROM")
    ]
    assert [line for line in docker.splitlines() if line.startswith("USER")] == ["USER bentoml"]
    setup = "".join(path.read_text() for path in (made.src.parent / "env" / "docker").glob("script*"))
    assert "libgomp1" in setup
    assert setup.endswith(f"{STATE}\n"), "the user of the image may write in a new volume"


@pytest.mark.parametrize("edited", ["model/booster.txt", "release.json"])
def test_an_edited_bento_serves_nothing(made: Made, tmp_path: Path, edited: str) -> None:
    shutil.copytree(made.src, tmp_path / "src")
    run = replace(made.run(), root=tmp_path / "src")
    (path,) = (run.paths.packaged / run.scope.folder).glob(f"m2-*/{edited}")
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    slot = ModelSlot(run)
    slot.refresh()
    slot.close()
    assert not slot.ready
    assert slot.problem


def test_the_private_key_stays_at_home(made: Made) -> None:
    """And evidence is inside."""
    names = {path.relative_to(made.src).as_posix() for path in (made.src / "packaged").rglob("*") if path.is_file()}
    keys = [*made.src.rglob("*.key")]
    evidence = f"packaged/{made.project.scope.folder}/evidence"
    assert not keys
    assert {
        f"{evidence}/{place}/{name}" for place in ("model", "baseline") for name in ("record.json", "model.skops")
    } <= names


def test_a_wrong_row_is_named(made: Made, tmp_path: Path) -> None:
    """And nothing is written in place of an earlier file."""
    source, target = tmp_path / "asked.csv", tmp_path / "scored.csv"
    target.write_text("earlier", encoding="utf-8")
    rows: list[dict[str, Any]] = requests().slice(0, 3).to_pylist()
    rows[2]["reminder_at"] = "2024-07-25 09:30"
    pyarrow.csv.write_csv(pa.Table.from_pylist(rows), source)
    with pytest.raises(Exception, match="row 3, reminder_at"):
        score_file(made.project, source, target, REQUESTS)
    assert "earlier" == target.read_text(encoding="utf-8")


def test_features_of_a_store_that_was_lost_are_not_used(made: Made, tmp_path: Path) -> None:
    """The baseline answers, and the result says how often."""
    run = copied(made.project, tmp_path / "project")
    online_store(run.environment, run.paths.state, feast_project(run.scope)).clear()
    pq.write_table(requests().slice(0, 50), tmp_path / "asked.parquet")
    scored = score_file(run, tmp_path / "asked.parquet", tmp_path / "scored.parquet", REQUESTS)
    assert (50, 50) == (scored.rows, scored.without_features)
