"""Find where a use case declares something: the file and line of a keyword, call or function (`use_cases/x/use_case.py:41`)."""

from __future__ import annotations

import ast
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ratchet.core.settings import PARAMS_FILE
from ratchet.project.run import Run
from ratchet.use_case.contract import use_case_module

PARTS = ("SourceTable", "View", "Lookup")
_OUR_FOLDERS = [Path(__file__).parents[2] / folder for folder in ("authoring", "ratchet")]
"""Folders that never hold a use case's declaration."""


@dataclass(frozen=True)
class _Call:
    """A call in a file, by the name of what it calls."""

    file: Path
    node: ast.Call

    @property
    def callee(self) -> str:
        function = self.node.func
        return getattr(function, "id", getattr(function, "attr", ""))

    @property
    def line(self) -> str:
        return location(self.file, self.node.lineno)

    def is_named(self, name: str) -> bool:
        values = [*self.node.args, *(keyword.value for keyword in self.node.keywords)]
        return any(isinstance(value, ast.Constant) and value.value == name for value in values)

    def keyword(self, name: str) -> ast.keyword | None:
        return next((keyword for keyword in self.node.keywords if keyword.arg == name), None)

    def place(self, keyword: str) -> str:
        """The line of a keyword, or the line of the call if it does not have that keyword."""
        found = self.keyword(keyword)
        return location(self.file, found.value.lineno) if found else self.line

    def within(self, keyword: str) -> Iterator[_Call]:
        """The calls in the value of a keyword."""
        found = self.keyword(keyword)
        nodes = ast.walk(found.value) if found else ()
        return (_Call(self.file, node) for node in nodes if isinstance(node, ast.Call))


class Declaration:
    """The source code of a use case. For a part that cannot be found, the line is that of the whole declaration."""

    def __init__(self, run: Run) -> None:
        self._project = run

    def use_case(self, keyword: str) -> str:
        call = self._use_case
        return call.place(keyword) if call else location(self._files[0], 1)

    def table(self, name: str, keyword: str) -> str:
        return self._part("SourceTable", "tables", name, keyword)

    def column(self, table: str, column: str) -> str:
        """The line of a schema that declares a column. If there is not exactly one: the line of the table's schema."""
        schemas = (call for call in self._calls if call.callee == "schema")
        nodes = [(call.file, node) for call in schemas for node in ast.walk(call.node)]
        named = {
            location(file, node.lineno)
            for file, node in nodes
            if isinstance(node, ast.Constant) and node.value == column
        }
        return named.pop() if len(named) == 1 else self.table(table, "schema")

    def view(self, name: str, keyword: str) -> str:
        return self._part("View", "views", name, keyword)

    def lookup(self, prefix: str, keyword: str) -> str:
        return self._part("Lookup", "lookups", prefix, keyword)

    def function(self, function: Callable[..., Any]) -> str:
        """The first line of a function. If a helper of Ratchet made it: the line where the use case names it."""
        plain = inspect.unwrap(getattr(function, "func", function))
        code = getattr(plain, "__code__", None)
        is_own = code is not None and not _is_ours(Path(code.co_filename))
        return location(Path(code.co_filename), code.co_firstlineno) if code and is_own else self._named_for(function)

    def _named_for(self, function: Callable[..., Any]) -> str:
        use_case = self._project.use_case
        for view in use_case.views:
            if view.compute is function:
                return self.view(view.name, "compute")
        fields = ("examples", "on_demand", "postprocess")
        return self.use_case(next((name for name in fields if getattr(use_case, name) is function), "sources"))

    def raised(self, error: BaseException) -> str | None:
        """The last line of an exception's traceback outside Ratchet and the libraries."""
        own = self._files[0]
        frames = reversed(traceback.extract_tb(error.__traceback__))
        found = (frame for frame in frames if _is_own(Path(frame.filename), _root(own)))
        return next((location(Path(frame.filename), frame.lineno or 1) for frame in found), None)

    def setting(self, *keys: str) -> str:
        """The line of a key of params.yaml."""
        path = self._project.root / PARAMS_FILE
        if not path.exists():
            return PARAMS_FILE
        root = yaml.compose(path.read_text(encoding="utf-8"))
        found = [(path, line) for path, line in _keys(root, ()) if path[-len(keys) :] == keys]
        own = [line for path, line in found if self._project.settings.use_case in path]
        line = next(iter([*own, *(line for _, line in found)]), None)
        return f"{PARAMS_FILE}:{line}" if line else PARAMS_FILE

    def _part(self, kind: str, field: str, name: str, keyword: str) -> str:
        """The line of a part, by its name. Calls inside `UseCase(…)` come first, then calls of its kind, then of helpers."""
        inside = self._use_case.within(field) if self._use_case else ()
        elsewhere = (call for call in self._calls if call.callee == kind)
        helpers = (call for call in self._calls if call.callee not in PARTS)
        found = next((call for call in [*inside, *elsewhere, *helpers] if call.is_named(name)), None)
        return found.place(keyword) if found else self.use_case(field)

    @cached_property
    def _use_case(self) -> _Call | None:
        return next((call for call in reversed(self._calls) if call.callee == "UseCase"), None)

    @cached_property
    def _calls(self) -> Sequence[_Call]:
        trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in self._files}
        return [
            _Call(file, node) for file, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Call)
        ]

    @cached_property
    def _files(self) -> Sequence[Path]:
        """The modules of the use case that were imported, its own one first."""
        module = use_case_module(self._project.settings.use_case)
        own = [name for name in sorted(sys.modules) if name == module or name.startswith(f"{module}.")]
        return [Path(str(sys.modules[name].__file__)) for name in own]


def location(file: Path, line: int) -> str:
    """A line of a file, with a path relative to the folder of its top-level package."""
    return f"{file.relative_to(_root(file))}:{line}"


def _root(file: Path) -> Path:
    """The folder from which a module is imported."""
    folder = file.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _is_own(file: Path, root: Path) -> bool:
    return file.is_relative_to(root) and not _is_ours(file) and "site-packages" not in file.parts


def _is_ours(file: Path) -> bool:
    return any(file.is_relative_to(folder) for folder in _OUR_FOLDERS)


def _keys(node: yaml.Node | None, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every key of a YAML document with the keys above it, and its line."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*above, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _keys(value, path)
