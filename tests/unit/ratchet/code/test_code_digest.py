"""What a step computed is computed again by changed code: its digest holds every module that it follows from."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratchet.code.code_digest import closure, code_digest
from ratchet.core.scope import Scope
from ratchet.sources.batches import Source, loader_code
from tests.support.checkout import ROOT
from tests.support.feed import feed_project

STEPS = (
    "feature_pipeline.ingest",
    "feature_pipeline.validate",
    "feature_pipeline.featurize",
    "feature_pipeline.materialize",
    "inference_pipeline.batch.predict",
)
EDIT = """
import json, pathlib, sys
from ratchet.code.code_digest import closure, code_digest

def digest():
    code_digest.cache_clear()
    return code_digest(step)

step, root, edits = sys.argv[1], pathlib.Path.cwd(), ("\\nEDITED = 1\\n", '\\n# A comment.\\n"Prose."\\n')
before, found = digest(), {}
for name, file in closure(step).items():
    assert file.is_relative_to(root), file
    text = file.read_text()
    for edit in edits:
        file.write_text(text + edit)
        found.setdefault(name, []).append(digest() != before)
    file.write_text(text)
assert digest() == before
print(json.dumps(found))
"""
LOADED = """
import importlib, json, pathlib, sys
importlib.import_module(sys.argv[1])
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps(sorted(name for name, file in files.items() if file and pathlib.Path(file).is_relative_to(sys.argv[2]))))
"""


def answer(script: str, *arguments: object, cwd: Path) -> Any:
    """What a script prints as JSON, in a process that imports from `cwd`."""
    command = [sys.executable, "-B", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env={}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, to be edited."""
    folder = tmp_path_factory.mktemp("code")
    for room in ("ratchet", "feature_pipeline", "inference_pipeline"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("step", STEPS)
def test_every_module_of_a_step_counts(code: Path, step: str) -> None:
    """One other line in any of them is other code; one more comment or docstring is not."""
    found = answer(EDIT, step, cwd=code)
    assert {step, "ratchet.storage.partitions", "ratchet.use_case.contract", "ratchet.core.clock"} <= set(found)
    assert {name: [True, False] for name in found} == found


@pytest.mark.parametrize("step", STEPS)
def test_a_step_takes_the_digest_of_its_own_module(step: str) -> None:
    """What it was imported as is what its partitions are recorded under."""
    module = "inference_pipeline.batch.scorer" if step == "inference_pipeline.batch.predict" else step
    assert code_digest(step) == importlib.import_module(module).CODE


@pytest.mark.parametrize("step", STEPS)
def test_what_python_loads_for_a_step_counts(code: Path, step: str) -> None:
    """No module of ours is loaded with a step that is none of its closure."""
    loaded = answer(LOADED, step, code, cwd=code)
    assert step in loaded
    assert set() == set(loaded) - set(closure(step))


def test_what_is_only_named_or_imported_late_counts() -> None:
    """The class that Feast finds by its name, and modules that a function imports when it runs."""
    found = closure("inference_pipeline.batch.predict")
    assert {
        "ratchet.feature_store.feast_offline_store",
        "ratchet.feature_store.point_in_time_join",
        "ratchet.models.baseline",
        "ratchet.model_registry.mlflow_logging",
    } <= set(found)


MODULES = {
    "shop/__init__.py": "",
    "shop/step.py": """
from typing import TYPE_CHECKING
import typing
from . import near
from .deep.inner import VALUE
import shop.plain as plain
if TYPE_CHECKING:
    import shop.for_types
else:
    import shop.for_running
if typing.TYPE_CHECKING:
    import shop.for_types
if not TYPE_CHECKING:
    from shop.guarded import *
def work():
    from shop.late import late
    return "shop.named:Thing", "shop.named_too.Thing.part", "no.such.module", "shop.late is no name"
""",
    "shop/near.py": "import shop.step",
    "shop/deep/__init__.py": "import shop.beside",
    "shop/deep/inner.py": "VALUE = 1",
    **{
        f"shop/{name}.py": ""
        for name in ("plain", "for_types", "for_running", "guarded", "late", "named", "named_too", "beside", "unused")
    },
}


def test_modules_are_found_however_they_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative, late, by name, for running; not those for type checkers, nor what a package on the way imports."""
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    ways = ("deep", "deep.inner", "for_running", "guarded", "late", "named", "named_too", "near", "plain", "step")
    assert ["shop", *(f"shop.{way}" for way in ways)] == sorted(closure("shop.step"))


def test_who_runs_a_file_by_its_path_runs_the_same_code() -> None:
    """Prefect's worker does, and Python then also imports from the inside of the package that the file is part of."""
    script = (
        "import json, sys; from ratchet.code.code_digest import code_digest;"
        "sys.path[:0] = sys.argv[1:2]; print(json.dumps([code_digest(step) for step in sys.argv[2:]]))"
    )
    assert [code_digest(step) for step in STEPS] == answer(script, ROOT / "flows", *STEPS, cwd=ROOT)


def test_what_is_not_there_has_no_digest() -> None:
    """A digest of nothing would never change."""
    with pytest.raises(ModuleNotFoundError, match=r"feature_pipeline\.nothing"):
        code_digest("feature_pipeline.nothing")


DIGESTS = (
    "import json, sys; from ratchet.code.code_digest import code_digest;"
    "print(json.dumps([code_digest(step) for step in sys.argv[1:]]))"
)


@contextmanager
def installed(folder: Path, library: str) -> Iterator[None]:
    """For a while, code that runs in a folder finds version 0.0.1 of a library."""
    metadata = folder / f"{library}-0.0.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 0.0.1\n", encoding="utf-8")
    yield
    shutil.rmtree(metadata.parent)


def test_another_version_of_a_library_is_other_code(code: Path) -> None:
    """Also of an engine that is imported by its front alone: DuckDB behind Ibis, LightGBM behind skops."""
    steps = ("feature_pipeline.featurize", "inference_pipeline.batch.predict")
    before = answer(DIGESTS, *steps, cwd=code)
    for library, others in (("duckdb", 2), ("lightgbm", 1)):
        with installed(code, library):
            after = answer(DIGESTS, *steps, cwd=code)
        assert others == sum(one != other for one, other in zip(before, after, strict=True))


def test_another_client_of_a_store_is_the_same_code(code: Path) -> None:
    """Values do not follow from who carries them: an optional client neither writes the store anew nor scores again."""
    imported = [file.read_text(encoding="utf-8") for file in closure("feature_pipeline.materialize").values()]
    before = answer(DIGESTS, *STEPS, cwd=code)
    for client in ("hiredis", "redis"):
        assert any(f"import {client}" in text for text in imported)
        with installed(code, client):
            assert before == answer(DIGESTS, *STEPS, cwd=code)


def test_a_loader_follows_from_its_module(tmp_path: Path) -> None:
    """A function is known by the module that defines it."""
    assert code_digest("tests.support.feed") == loader_code(Source.open(feed_project(tmp_path)))


def test_a_loader_that_was_made_follows_from_all_of_its_use_case(tmp_path: Path) -> None:
    """What a call was given stands in the use case, so every edit of that counts."""
    source = Source.open(feed_project(tmp_path))
    fixed, name = source.loader, source.settings.name
    made = replace(source.use_case, sources={name: lambda *arguments: fixed(*arguments)})
    of_noshow = replace(source, use_case=made, scope=Scope("tests.support.noshow", name))
    assert code_digest("tests.support.noshow") == loader_code(of_noshow)
