"""What the documents and docstrings name is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

from tests.support.checkout import ROOT

ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
NAME = re.compile(rf"`((?:{'|'.join(ROOMS)})(?:\.\w+)+)[`(]")
"""A dotted name of this repository's packages, in backticks, such as `ratchet.project.steps.STEPS`."""


def test_files_to_change_are_there() -> None:
    """Every file and folder that docs/where-to-change-what.md names, but for those of a use case still to be made."""
    text = (ROOT / "docs" / "where-to-change-what.md").read_text(encoding="utf-8")
    named = {path for path in re.findall(r"`([\w./]+/[\w./]*|[\w.]+\.yaml)`", text) if "NAME" not in path}
    assert len(named) > 30
    assert [] == [path for path in sorted(named) if not (ROOT / path).exists()]


def test_each_threat_has_tests_that_are_there() -> None:
    """Every line of a table in docs/threat-model.md names tests, by file and function."""
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ") and not re.match(r"\| (threat|---)", line)]
    assert len(lines) > 25
    assert [] == [line for line in lines if "::" not in line.rsplit("|", 2)[1]]
    for file, name in re.findall(r"`(\w+\.py)::(\w+)`", text):
        texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file)]
        assert any(f"def {name}(" in each for each in texts), f"{file}::{name}"


def test_names_in_docstrings_and_documents_are_there() -> None:
    """Each dotted name in backticks is a module, or what one holds."""
    named = {(str(path.relative_to(ROOT)), name) for path, text in prose() for name in NAME.findall(text)}
    assert ("ratchet/use_case/columns.py", "ratchet.use_case.arrival") in named
    assert [] == [where for where in sorted(named) if not exists(where[1])]


def prose() -> Iterator[tuple[Path, str]]:
    """The text of documents, and the docstrings of modules, classes, functions and constants."""
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        yield path, path.read_text(encoding="utf-8")
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield path, node.value.value


def exists(name: str) -> bool:
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True
