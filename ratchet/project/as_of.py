"""The as-of instants: how far the data of each pipeline go.

They are kept in a file that changes with the data, as dvc.lock does, and not with the code. Everything that a pipeline computes
is a function of code, settings and what was known at its instant.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import AwareDatetime

from ratchet.code.git import AS_OF_FILE
from ratchet.core.errors import SettingsError
from ratchet.core.frozen import Frozen
from ratchet.core.settings import parse
from ratchet.storage.files import write_text

_HEADER = """\
# How far the data go: the instant, in UTC, as of which each pipeline of a use case works. `ratchet advance` and the scheduled
# flows change this file. Like dvc.lock it belongs to the data: it makes no commit dirty.
"""


class AsOf(Frozen):
    """The instant of each pipeline of a use case. They differ if the pipelines run on schedules of their own."""

    feature: AwareDatetime
    training: AwareDatetime
    inference: AwareDatetime

    @classmethod
    def at(cls, instant: datetime) -> AsOf:
        """The same instant for every pipeline."""
        return cls(feature=instant, training=instant, inference=instant)


def read_as_of(root: Path, use_case: str) -> AsOf | None:
    """The instants of a use case; None if none are set yet. Raises SettingsError if the file cannot be read."""
    found = _sections(root / AS_OF_FILE).get(use_case)
    if found is None:
        return None
    given = found if isinstance(found, dict) else {"the instant": found}
    return parse(AsOf, given, str(root / AS_OF_FILE), within=f"{use_case}.")


def write_as_of(root: Path, use_case: str, as_of: AsOf) -> None:
    """Set the instants of a use case. The caller holds the lock of the repository."""
    write_text(root / AS_OF_FILE, changed(root, use_case, as_of))


def changed(root: Path, use_case: str, as_of: AsOf) -> str:
    """The text of the file with other instants of a use case, and those of the others as they are."""
    instants = {name: as_text(instant) for name, instant in as_of}
    return _HEADER + yaml.safe_dump({**_sections(root / AS_OF_FILE), use_case: instants}, sort_keys=False)


def as_text(instant: datetime) -> str:
    """An instant as it is written in the file."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _sections(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    except yaml.YAMLError as error:
        raise SettingsError(
            f"is not YAML ({' '.join(str(error).split())})", subject=str(path), remedy="Restore it from git"
        ) from error
    if found is not None and not isinstance(found, dict):
        raise SettingsError("holds no use cases", subject=str(path), remedy="Restore it from git")
    return found or {}
