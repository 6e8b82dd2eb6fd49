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

ROOMS = ("feature_pipeline", "training_pipeline", "inference_pipeline")
COMPUTING = ("ingest", "validate", "featurize", "train", "evaluate", "predict", "monitor")
"""Stages that call functions of a use case."""


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
    """Files of the pipelines that importing a module runs."""
    path = Path(*module.split(".")).with_suffix(".py") if module else Path()
    if path.parts[:1] and path.parts[0] in ROOMS and (ROOT / path).is_file() and path.as_posix() not in found:
        found.add(path.as_posix())
        for name in imports(ROOT / path):
            reached(name, found)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    """All that its pipeline has for it, and all that pipelines share."""
    depends = dependencies(stage)
    needed = reached(STAGES[stage].partition(":")[0], set())
    missing = {path for path in needed if not {path, *(str(parent) for parent in Path(path).parents)} & depends}
    assert set() == missing
    assert "ratchet" in depends


@pytest.mark.parametrize("stage", COMPUTING)
def test_a_stage_that_runs_a_use_case_depends_on_it(stage: str) -> None:
    """Its tables, rules, views, slices and on-demand features decide what the stage writes."""
    assert {"use_cases/${key}", "use_cases/shared"} <= dependencies(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_depends_on_is_there(stage: str) -> None:
    """Each is a file or folder of the checkout."""
    code = [path for path in dependencies(stage) if path.partition("/")[0] in ROOMS]
    assert [] == [path for path in code if not (ROOT / path).exists()]
