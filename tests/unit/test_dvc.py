"""No stage counts as up to date after a change of code that its outputs follow from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.code.code_digest import closure
from ratchet.core.settings import GateSettings
from ratchet.project.steps import STEPS
from tests.support.checkout import ROOT

NAMES = sorted(path.parent.name for path in (ROOT / "use_cases").glob("*/__init__.py") if path.parent.name != "shared")
PIPELINES = ("feature_pipeline", "training_pipeline", "inference_pipeline")
COMPUTING = ("ingest", "validate", "featurize", "dataset", "train", "evaluate", "predict", "monitor")
"""Stages that call functions of a use case."""


def dependencies(stage: str) -> set[str]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return set(stages[stage]["do"]["deps"])


def followed(stage: str) -> set[str]:
    """The files that a stage's step follows from; those that say nothing are not watched."""
    found = closure(STEPS[stage].module).values()
    files = {path.relative_to(ROOT).as_posix() for path in found if path.stat().st_size}
    return files - {"ratchet/__init__.py"}  # prose


@pytest.mark.parametrize("stage", STEPS)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    """Every module that its step follows from is named, or lies in a folder that is."""
    depends = dependencies(stage)
    missing = {
        path for path in followed(stage) if not {path, *(str(parent) for parent in Path(path).parents)} & depends
    }
    assert set() == missing


@pytest.mark.parametrize("stage", STEPS)
def test_a_stage_depends_on_no_code_that_it_does_not_run(stage: str) -> None:
    """A module or room that the step does not follow from would run it for nothing."""
    own = {
        path for path in dependencies(stage) if path.partition("/")[0] == "ratchet" or path.split("/")[0] in PIPELINES
    }
    assert {path for path in own if not any(file.startswith(path) for file in followed(stage))} == set()


@pytest.mark.parametrize("stage", STEPS)
def test_a_stage_depends_on_rooms(stage: str) -> None:
    """Never on all that is shared: an edit there would run everything."""
    assert "ratchet" not in dependencies(stage)


@pytest.mark.parametrize("stage", COMPUTING)
def test_a_stage_that_runs_a_use_case_depends_on_it(stage: str) -> None:
    """Its tables, rules, views, slices and on-demand features decide what the stage writes."""
    assert {"use_cases/${key}", "use_cases/shared"} <= dependencies(stage)


@pytest.mark.parametrize("name", NAMES)
def test_a_use_case_follows_from_what_its_stages_depend_on(name: str) -> None:
    """Its own folder, what use cases share, and rooms of which only its loader's is watched by `ingest` alone."""
    watched = {f"use_cases/{name}", "use_cases/shared", *set.intersection(*map(dependencies, COMPUTING))}
    files = {file.relative_to(ROOT) for file in closure(f"use_cases.{name}").values() if file.stat().st_size}
    missing = {file for file in files if not {parent.as_posix() for parent in file.parents} & watched}
    assert {"ratchet/__init__.py"} >= {file.as_posix() for file in missing if file.parent != Path("ratchet/sources")}
    assert "ratchet/sources" in dependencies("ingest")


@pytest.mark.parametrize("stage", STEPS)
def test_what_a_stage_depends_on_is_there(stage: str) -> None:
    """Each is a file or folder of the checkout."""
    code = [path for path in dependencies(stage) if path.partition("/")[0].endswith("_pipeline")]
    assert [] == [path for path in code if not (ROOT / path).exists()]


def test_slices_and_blocks_are_judged_by_and_nothing_else() -> None:
    """An edit of the gate's section of params.yaml runs `evaluate`, and what follows from its records."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    watching = {
        name for name, stage in stages.items() if "use_cases.${key}.gate" in stage.get("do", {}).get("params", [])
    }
    assert {"evaluate"} == watching
    assert {"slices", "block"} <= GateSettings.model_fields.keys()


def test_decisions_of_people_are_kept_with_the_data() -> None:
    """They are an output that DVC caches, and neither deletes before a run nor replaces by one of an earlier run."""
    outputs = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["validate"]["do"]["outs"]
    assert {"data/${key}/${item.source.name}/readmissions.json": {"persist": True}} in outputs
