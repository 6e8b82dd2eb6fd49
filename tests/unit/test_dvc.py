"""No stage counts as up to date after a change of code that its outputs follow from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.stages import STAGES
from tests.support.checkout import ROOT

ROOMS = ("ratchet", "feature_pipeline", "training_pipeline", "inference_pipeline")
WITHOUT_EFFECT = {
    "ratchet/errors.py": "what a failure says",
    "ratchet/feast_import.py": "how Feast is imported",
    "ratchet/quiet.py": "what libraries print",
    "ratchet/reports.py": "writes what a step returns",
    "ratchet/versions.py": "asks git and DVC, which no stage can depend on",
}
SERVING = {f"ratchet/{name}.py" for name in ("history", "mlflow_run", "promotion", "registry")}
"""Find the model that serves, which is what `reconcile` leaves in serving.json."""
ADMITTING = {f"ratchet/{name}.py" for name in ("gate_checks", "gate_evidence", "gate_record", "metrics", "signing")}
"""Judge whether it may, which reconcile does, too."""
ELSEWHERE = {"evaluate": SERVING, "predict": SERVING | ADMITTING, "monitor": SERVING | ADMITTING}
USED_BY_USE_CASES = {"ratchet/fields.py", "ratchet/one_table.py", "ratchet/windows.py"}


def dependencies(stage: str) -> set[str]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return set(stages[stage]["do"]["deps"])


def imports(path: Path) -> Iterator[str]:
    """Modules that a module imports, and those that it names for another to import."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.rpartition(".")[0]


def reached(module: str, found: set[str]) -> set[str]:
    """Our own files that importing a module runs."""
    path = Path(*module.split(".")).with_suffix(".py") if module else Path()
    if path.parts[:1] and path.parts[0] in ROOMS and (ROOT / path).is_file() and path.as_posix() not in found:
        found.add(path.as_posix())
        for name in imports(ROOT / path):
            reached(name, found)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    """All that it imports of ours, but for what cannot change its outputs or comes to it through another file."""
    depends = dependencies(stage)
    needed = reached(STAGES[stage].partition(":")[0], set()) - {*WITHOUT_EFFECT} - ELSEWHERE.get(stage, set())
    missing = {path for path in needed if not {path, *(str(parent) for parent in Path(path).parents)} & depends}
    assert set() == missing


@pytest.mark.parametrize("stage", ["ingest", "validate", "featurize", "train", "evaluate", "predict", "monitor"])
def test_a_stage_that_runs_a_use_case_depends_on_it(stage: str) -> None:
    """Its tables, rules, views, slices and on-demand features decide what the stage writes."""
    assert {"use_cases/${key}", "use_cases/shared"} <= dependencies(stage)


@pytest.mark.parametrize("stage", ["featurize", "evaluate"])
def test_a_stage_that_compiles_expressions_depends_on_what_makes_them(stage: str) -> None:
    """Use cases have some of their expressions made by ratchet."""
    assert dependencies(stage) >= USED_BY_USE_CASES


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_depends_on_is_there(stage: str) -> None:
    """Each is a file or folder of the checkout, once."""
    code = [path for path in dependencies(stage) if path.partition("/")[0] in ROOMS]
    assert [] == [path for path in code if not (ROOT / path).exists()]
