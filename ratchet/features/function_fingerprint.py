"""What a function is made of: its syntax, and all that it uses of our own code, however it comes by it.

Code is told by its syntax tree and a value as pickle takes it apart, so that neither the process nor the version of Python
shows. Comments, docstrings and the annotations of functions do not count; of others' code only names do.
"""

from __future__ import annotations
import __future__

import ast
import copyreg
import dis
import functools
import hashlib
import inspect
import json
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import numpy as np

from ratchet.core.errors import SettingsError
from ratchet.core.syntax import Part, syntax

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_COLLECTIONS = (list, tuple, dict, MappingProxyType, set, frozenset)
_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_COPIED = {*functools.WRAPPER_ASSIGNMENTS, "__type_params__"}
"""Names and prose that a decorator takes over from what it wraps; Python 3.12 has one more."""


def composition(function: Callable[..., Any], own: Iterable[str]) -> Part:
    """Changes with whatever may change what the function returns. `own` are the packages whose code counts as ours.

    Raises SettingsError where it uses what cannot be told.
    """
    return _Composition(frozenset(own)).of(function)


@dataclass(frozen=True)
class _Composition:
    """`met` numbers what was taken apart already, and holds it: as long as it lives, its id names nothing else."""

    own: frozenset[str]
    met: dict[int, tuple[int, object]] = field(default_factory=dict)

    def of(self, value: Any) -> Part:
        if type(value) in _ATOMS:
            return [type(value).__name__, ascii(value)]
        if type(value) in _COLLECTIONS:
            return [type(value).__name__, self._collection(value)]
        if isinstance(value, np.ndarray | np.generic):
            content = self.of(value.tolist()) if value.dtype.hasobject else hashlib.sha256(value.tobytes()).hexdigest()
            return [str(value.dtype), value.shape, content]
        if isinstance(value, Enum):  # before 3.11.4 it is pickled in another way
            return ["enum", self.of(type(value)), self.of(value.value)]
        if isinstance(value, PurePath):
            return ["path", value.name]  # the folders differ between machines
        if id(value) in self.met:
            return ["again", self.met[id(value)][0]]
        self.met[id(value)] = (len(self.met), value)
        return self._code(value) if isinstance(value, FunctionType | type | ModuleType) else self._object(value)

    def _collection(self, value: Any) -> Part:
        if isinstance(value, dict | MappingProxyType):
            return [[self.of(key), self.of(item)] for key, item in value.items() if key not in _COPIED]
        if isinstance(value, set | frozenset):  # each by itself: they come in another order in every process
            return sorted((replace(self, met={**self.met}).of(item) for item in value), key=json.dumps)
        return [self.of(item) for item in value]

    def _object(self, value: Any) -> Part:
        try:
            reduce: Callable[[Any], Any] = copyreg.dispatch_table.get(type(value), _reduced)
            taken_apart = reduce(value)
        except (TypeError, pickle.PicklingError) as error:
            raise SettingsError(
                f"uses a {_name(type(value))}, which nothing can compare with that of another process",
                subject="on_demand or postprocess",
                remedy="Use plain values, or make it inside the function",
            ) from error
        if isinstance(taken_apart, str):
            wrapped = inspect.getattr_static(value, "__wrapped__", None)  # by lru_cache
            return [_name(type(value)), taken_apart, self.of(wrapped)]
        return [self.of(list(part) if isinstance(part, Iterator) else part) for part in taken_apart]

    def _code(self, value: FunctionType | type | ModuleType) -> Part:
        if not self._is_own(value):
            return [_name(value), self.of(getattr(value, "__wrapped__", None))]
        if isinstance(value, FunctionType):
            return self._function(value)
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
        except (OSError, TypeError):  # no file has it: made by a call, such as that of namedtuple
            return [_name(value), sorted(name for name in vars(value) if not name.startswith("_"))]
        names = vars(value if isinstance(value, ModuleType) else sys.modules[value.__module__])
        code = compile(tree, "", "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
        return [syntax(tree), self._used(tree, _loaded(code), names)]

    def _function(self, function: FunctionType) -> Part:
        code, closure = function.__code__, dict[str, Any]()
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # of a cell that is empty yet
                closure[name] = cell.cell_contents
        tree = ast.Module(_definitions(code), [])
        used = self._used(tree, _loaded(code) | {*closure}, {**function.__globals__, **closure})
        given = (function.__defaults__, function.__kwdefaults__, vars(function))
        return [syntax(tree), self.of(given), used]

    def _used(self, tree: ast.AST, loaded: set[str], names: Mapping[str, Any]) -> Part:
        imported = _imported(tree, names.get("__package__") or "")
        names, loaded = {**names, **imported}, loaded | {*imported}
        chains = (chain for chain in _chains(tree) if chain[0] in loaded & {*names} and not chain[0].startswith("__"))
        found = dict(self._found(names[root], root, attributes) for root, *attributes in chains)
        return [[name, self.of(value)] for name, value in sorted(found.items(), key=lambda item: item[0])]

    def _found(self, value: Any, name: str, attributes: Iterable[str]) -> tuple[str, Any]:
        """What is behind a name, through our own modules."""
        for attribute in attributes:
            if not (isinstance(value, ModuleType) and self._is_own(value) and hasattr(value, attribute)):
                break
            value, name = getattr(value, attribute), f"{name}.{attribute}"
        return name, value

    def _is_own(self, value: FunctionType | type | ModuleType) -> bool:
        return _name(value).partition(".")[0] in self.own


def _reduced(value: Any) -> Any:
    return value.__reduce_ex__(4)


def _name(value: FunctionType | type | ModuleType) -> str:
    """Package and name: in which module of a package something is differs between versions of Python."""
    if isinstance(value, ModuleType):
        return value.__name__
    module = value.__globals__["__name__"] if isinstance(value, FunctionType) else value.__module__
    return f"{module.partition('.')[0]}.{value.__qualname__}"


def _definitions(code: CodeType) -> list[ast.stmt]:
    """The function that was compiled to the code; every lambda of its line, where it is one."""
    try:
        tree = ast.parse(Path(code.co_filename).read_bytes())
    except OSError as error:
        raise SettingsError(
            f"uses {code.co_name}, whose source is not there",
            subject=code.co_filename,
            remedy="Write it in a file of the use case",
        ) from error
    nodes = [node for node in ast.walk(tree) if isinstance(node, _Definition) and _is_of(node, code)]
    return [ast.Expr(node) if isinstance(node, ast.Lambda) else node for node in nodes]


def _is_of(node: _Definition, code: CodeType) -> bool:
    name, above = ("<lambda>", []) if isinstance(node, ast.Lambda) else (node.name, node.decorator_list)
    return (code.co_name, code.co_firstlineno) == (name, min(part.lineno for part in (node, *above)))


def _imported(tree: ast.AST, package: str) -> dict[str, Any]:
    """What the imports inside functions give."""
    found: dict[str, Any] = {"__package__": package}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            with suppress(ImportError):  # then the function has another way
                exec(compile(ast.Module([node], []), "", "exec"), found)  # noqa: S102 # an import, as the function does it
    return found


def _loaded(code: CodeType) -> set[str]:
    """The global names that the code, and the code inside it, reads."""
    found = {str(step.argval) for step in dis.get_instructions(code) if step.opname in _LOADS}
    return found.union(*(_loaded(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _chains(node: ast.AST) -> Iterator[list[str]]:
    """Every name with the attributes that are asked of it: `numbers.LIMIT` is [numbers, LIMIT]."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        yield [node.id, *attributes]
    for child in ast.iter_child_nodes(node):
        yield from _chains(child)
