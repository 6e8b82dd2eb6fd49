"""Fingerprints of a use case's `on_demand` and `postprocess`: the syntax of the few modules that such a function depends on.

Its module may only import the libraries that are listed here, the contract, `ratchet.core.clock`, and modules of its own
package that obey the same rule. Only this code decides what the function returns. Comments, docstrings, layout and annotations
of functions do not count. The contract and the libraries count by name, without their code and version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ratchet.code.code_digest import Source, source_of
from ratchet.core.errors import SettingsError
from ratchet.storage.digests import digest

CONTRACT, CLOCK = "ratchet.use_case.contract", "ratchet.core.clock"
LIBRARIES = (
    *("numpy", "bisect", "calendar", "datetime", "decimal", "fractions", "math", "re", "statistics", "zoneinfo"),
    *("__future__", "collections", "dataclasses", "enum", "functools", "hashlib", "itertools", "operator", "typing"),
)
"""Numbers, times and text: nothing that reads a file, the environment or another module."""
REMEDY = (
    "Keep on_demand and postprocess in a module of their own, such as use_cases/NAME/on_demand.py, that imports only "
    f"{CONTRACT}, {CLOCK}, {', '.join(LIBRARIES)}, and modules of its package that obey the same rule"
)


def function_fingerprint(keyword: str, function: Callable[..., Any]) -> str:
    """A digest that changes whenever the function may return something else. `keyword` is its parameter of UseCase.

    Raises SettingsError if the function is not defined by `def` in a module, or if a module that it depends on imports
    something that is not allowed there.
    """
    if not _is_plain(function):
        name = getattr(function, "__qualname__", type(function).__name__)
        raise SettingsError(
            f"{name} is a lambda, or was made by a call such as `partial(…)` or a decorator, so that no module defines it",
            subject=keyword,
            remedy="Write a function that calls it, by `def` at the top level of a module",
        )
    module, name = function.__globals__["__name__"], function.__name__
    modules = _Modules(module.partition(".")[0], f"{keyword}, {name} of {module}")
    return digest(f"{module}.{name}", modules.digests(module))


def _is_plain(function: Callable[..., Any]) -> bool:
    """Whether its module defines it under its name. A closure, such as a decorator returns, also depends on other values."""
    is_function = isinstance(function, FunctionType) and function.__closure__ is None
    return is_function and function.__globals__.get(function.__name__) is function


@dataclass(frozen=True)
class _Modules:
    """The modules that a function may depend on: those of its package, and those of Ratchet that it may import."""

    package: str
    subject: str

    def digests(self, module: str) -> dict[str, str]:
        """Every module that a module depends on, with itself → the digest of its syntax."""
        found, waiting = {CONTRACT: ""}, [module]
        while waiting:
            name = waiting.pop()
            if name not in found:
                source = self._source(name)
                found[name] = source.digest
                waiting += self._followed(name, source)
        return found

    def _source(self, module: str) -> Source:
        name, source = self._find(module)
        if source is None or name != module:
            raise SettingsError(f"no file of Python code is {module}", subject=self.subject, remedy=REMEDY)
        return source

    def _followed(self, module: str, source: Source) -> list[str]:
        """The modules that a module imports, without libraries. Raises SettingsError if one is not allowed."""
        others = {name for name in source.imports if name.partition(".")[0] not in LIBRARIES}
        imported = {self._find(name)[0] for name in others}
        refused = sorted(name for name in imported if not self._may_be_imported(name))
        if refused:
            problem = f"the module {module} imports {', '.join(refused)}, which its fingerprint does not cover"
            raise SettingsError(problem, subject=self.subject, remedy=REMEDY)
        return sorted(imported)

    def _may_be_imported(self, module: str) -> bool:
        return module in {CONTRACT, CLOCK} or module.partition(".")[0] == self.package

    def _find(self, name: str) -> tuple[str, Source | None]:
        """The module that a dotted name is in, with its source. If there is no such module: the name, or its library."""
        library = name.partition(".")[0]
        try:
            return source_of(name, self.package) or (name if library == self.package else library, None)
        except (OSError, SyntaxError) as error:
            problem = f"{name} cannot be read ({error})"
            raise SettingsError(problem, subject=self.subject, remedy="Restore its file") from error
