"""Pipelines know no use case: adding one touches its folder, its tests and params.yaml."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.sources.declared_table import AS_OF, KNOWN_AT
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import UseCase, load_use_case
from tests.support.checkout import ROOT

ROOMS = (
    "ratchet",
    "feature_repo",
    "feature_pipeline",
    "training_pipeline",
    "inference_pipeline",
    "flows",
    "authoring",
    "cli",
)
FILES = ("dvc.yaml", "prefect.yaml")
OURS = {EVENT_TIMESTAMP, AS_OF, KNOWN_AT}
NAMES = sorted(path.parent.name for path in (ROOT / "use_cases").glob("*/__init__.py") if path.parent.name != "shared")


def own_words(use_case: UseCase) -> set[str]:
    """What only a use case would say: its name, and what it calls its things in more than one word."""
    tables, views = ({one.name for one in kind} for kind in (use_case.tables, use_case.views))
    words = {*tables, *views, *use_case.request.model_fields, *use_case.inputs}
    return {use_case.name, *(word for word in words if "_" in word)} - OURS


def literals(path: Path) -> Iterator[str]:
    """Every string of a module that is not a docstring, and every module that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield f"{node.module}."


@pytest.mark.parametrize("name", NAMES)
def test_no_use_case_is_spoken_of_outside_its_folder(name: str) -> None:
    """No pipeline, flow or command has a use case's name, table, view, request field or input as a word of its own."""
    words = own_words(load_use_case(name))
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    spoken = {(path.relative_to(ROOT).as_posix(), word) for path in modules for word in words & set(literals(path))}
    imported = {path.name for path in modules if any(text.startswith(f"use_cases.{name}.") for text in literals(path))}
    assert (set(), set()) == (spoken, imported)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", FILES)
def test_stages_and_deployments_name_no_use_case(name: str, file: str) -> None:
    """They follow from params.yaml for any of them."""
    assert not re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_use_case_imports_no_other(name: str) -> None:
    """What two of them need lies in use_cases/shared."""
    others = {f"use_cases.{other}" for other in NAMES if other != name}
    found = {text for path in (ROOT / "use_cases" / name).rglob("*.py") for text in literals(path)}
    assert not [text for text in found if any(text.startswith(f"{other}.") for other in others)]


def test_modules_and_functions_are_short() -> None:
    """No module has more than 300 lines, and no function more than 40."""
    modules = {
        path: path.read_text(encoding="utf-8") for room in (*ROOMS, "use_cases") for path in (ROOT / room).rglob("*.py")
    }
    assert [] == [path.name for path, text in modules.items() if len(text.splitlines()) > 300]
    functions = (
        node for text in modules.values() for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)
    )
    assert [] == [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 40]
