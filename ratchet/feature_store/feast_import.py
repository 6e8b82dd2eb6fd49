"""Import Feast through here: half its start-up time is spent instrumenting, and its clock depends on the machine's zone."""

from __future__ import annotations

import sqlite3
import warnings
from datetime import UTC, datetime
from functools import cache
from types import ModuleType
from typing import Any


@cache
def feast_module() -> ModuleType:
    """The `feast` package, imported without run-time type instrumentation of every function (1.5 CPU seconds)."""
    import typeguard

    instrument = typeguard.typechecked
    typeguard.typechecked = _leave_as_it_is
    try:
        with warnings.catch_warnings():  # it would show every deprecation in any library from here on
            import feast
            import feast.infra.online_stores.sqlite
    finally:
        typeguard.typechecked = instrument
    _count_seconds_in_utc()
    assert isinstance(feast, ModuleType)
    return feast


def _leave_as_it_is(target: Any = None, **_options: object) -> Any:
    return _leave_as_it_is if target is None else target


def _count_seconds_in_utc() -> None:
    """Feast makes sqlite3 read naive UTC times as local ones: an hour of each year would come back as another one."""
    sqlite3.register_adapter(datetime, _to_seconds)
    sqlite3.register_converter("timestamp", _from_seconds)


def _to_seconds(instant: datetime) -> int:
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())


def _from_seconds(stored: bytes) -> datetime:
    return datetime.fromtimestamp(int(stored), UTC).replace(tzinfo=None)
