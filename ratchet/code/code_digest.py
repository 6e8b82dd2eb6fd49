"""Which code a result depends on: those of our modules that a step's module imports, and the versions of the libraries.

Modules are found in syntax trees, without importing any. A module depends on every module that it imports, also inside
functions, and on every module that it names in a text, such as
`"ratchet.feature_store.feast_offline_store.AsofOfflineStore"`, which Feast imports. Imports for type checkers do not count.
A module counts by its syntax: layout, comments, docstrings and annotations of functions change nothing. A library counts by
its version, except a client that only carries values to a store and back.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path

from ratchet.core.syntax import is_for_types, syntax
from ratchet.storage.digests import digest

_DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "hiredis": (),
    "ibis": ("ibis-framework", "duckdb"),
    "redis": (),
    "skops": ("skops", "scikit-learn", "lightgbm"),
    "sklearn": ("scikit-learn",),
    "yaml": ("PyYAML",),
}
"""Import name → its distributions, if they have other names. Engines are listed, too: only these libraries import them. Redis'
clients count by none: they are optional, and carry values without changing them."""
_INSTALLED = {"site-packages", "dist-packages"}
_MODULE_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+(:\w+)?")


@dataclass(frozen=True)
class Source:
    """A module's file, parsed: the digest of its syntax, the names that it imports, and the module names in its texts."""

    digest: str
    imports: frozenset[str]
    texts: frozenset[str]


@cache
def code_digest(*modules: str) -> str:
    """Changes with any of our modules that `modules` depend on, and with the version of any library that these import.

    Call it when a module is imported, not when it runs: a file that was edited after the import is not the running code.
    """
    found = closure(*modules)
    sources = {name: _source(name, file) for name, file in found.items()}
    packages = {name.partition(".")[0] for name in found}
    imported = {name.partition(".")[0] for source in sources.values() for name in source.imports}
    libraries = sorted(imported - packages - sys.stdlib_module_names)
    return digest({name: source.digest for name, source in sources.items()}, [_versions(name) for name in libraries])


def closure(*modules: str) -> dict[str, Path]:
    """Each of our modules that `modules` depend on → its file. Raises ModuleNotFoundError if one of `modules` has no file.

    Our modules are those in the packages of `modules`, and in any package that is not installed. If a package only contains
    a module that is needed, its `__init__.py` counts, but not what that imports.
    """
    packages = frozenset(name.partition(".")[0] for name in (*modules, __name__))
    found: dict[str, Path] = {}
    waiting, followed = list(modules), set[str]()
    while waiting:
        files = _files(waiting.pop(), packages)
        found |= files
        for name in {*list(files)[-1:]} - followed:
            followed.add(name)
            source = _source(name, files[name])
            waiting += [*source.imports, *source.texts]
    missing = [name for name in modules if name not in found]
    if missing:
        raise ModuleNotFoundError(f"none of our files is the module {', '.join(missing)}")
    return found


def source_of(name: str, package: str) -> tuple[str, Source] | None:
    """The one of our modules that a dotted name is in, with its source: `a.b.C` is in `a.b`. None if there is no such module.

    Our modules are those of `package`, of this package, and of any that is not installed. An extension module has no source.
    """
    files = _files(name, frozenset({package, __name__.partition(".")[0]}))
    if not files:
        return None
    module, file = [*files.items()][-1]
    return (module, _source(module, file)) if file.suffix == ".py" else None


def _files(name: str, packages: frozenset[str]) -> dict[str, Path]:
    """The ones of our modules that a dotted name leads through, each with its file: `a.b.C` leads through `a` and `a.b`."""
    top, *_ = parts = name.split(".")
    folder = _folder(top)
    if folder is None or (_INSTALLED & {*folder.parts} and top not in packages):
        return {}
    names = [".".join(parts[:number]) for number in range(1, len(parts) + 1)]
    files = {each: _file(each, folder) for each in names}
    return {each: file for each, file in files.items() if file}


def _file(name: str, folder: Path) -> Path | None:
    """The file that a module was imported from or, if it was not imported yet, would be imported from."""
    imported = getattr(sys.modules.get(name), "__file__", None)
    return Path(imported) if imported else _unimported(folder.joinpath(*name.split(".")))


@cache
def _unimported(place: Path) -> Path | None:
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


@cache
def _folder(top: str) -> Path | None:
    """The folder from which a package is imported; None for the standard library, and for a package that is not found.

    A folder inside a package does not count, although Prefect, which runs a file by its path, can import from there.
    """
    if top in sys.stdlib_module_names:
        return None
    try:
        spec = find_spec(top)
    except ValueError:  # a module object that code made, without an import
        return None
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    folder = Path(places[0]).parent if places and places[0] else None
    return None if folder and (folder / "__init__.py").is_file() else folder


def _source(name: str, file: Path) -> Source:
    return _parsed(file.read_bytes(), name if file.name == "__init__.py" else name.rpartition(".")[0])


@cache
def _parsed(text: bytes, package: str) -> Source:
    tree = ast.parse(text)
    nodes = list(_running(tree))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return Source(
        digest(syntax(tree)),
        frozenset(name for node in nodes for name in _imported(node, package)),
        frozenset(text.partition(":")[0] for text in texts if _MODULE_PATH.fullmatch(text)),
    )


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, except those that only type checkers read."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.orelse if is_for_types(node) else ast.iter_child_nodes(node))


def _imported(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = resolve_name("." * node.level + (node.module or ""), package)
        return [f"{base}.{alias.name}" for alias in node.names]
    return []


@cache
def _versions(library: str) -> list[tuple[str, str]]:
    """The distributions of an import name and their versions; empty if the library is not installed."""
    try:
        return [(name, version(name)) for name in _DISTRIBUTIONS.get(library, (library,))]
    except PackageNotFoundError:  # its distribution has another name, which takes longer to find
        return [(name, version(name)) for name in packages_distributions().get(library, ())]
