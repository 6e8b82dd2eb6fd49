"""The import of Feast, without the instrumentation that takes half of its start-up time; and the names of our tags in it."""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType
from typing import Any

UPSTREAM = "ratchet.upstream"
"""The tag of a source in the files of another system: how they are read."""


@cache
def feast_module() -> ModuleType:
    """The `feast` package, imported without run-time type instrumentation of every function (1.5 CPU seconds)."""
    import typeguard

    instrument = typeguard.typechecked
    typeguard.typechecked = _leave_as_it_is
    try:
        with warnings.catch_warnings():  # Feast would switch on every deprecation warning of any library
            import feast
    finally:
        typeguard.typechecked = instrument
    assert isinstance(feast, ModuleType)
    return feast


def _leave_as_it_is(target: Any = None, **_options: object) -> Any:
    return _leave_as_it_is if target is None else target
