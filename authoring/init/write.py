"""Write the files of a new use case: all of them or none, and never over existing files."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ratchet.code.git import AS_OF_FILE
from ratchet.core.errors import SettingsError, StoreError
from ratchet.storage.files import write_text


@dataclass(frozen=True)
class Places:
    """The paths of a use case's files."""

    root: Path
    name: str

    @property
    def use_case(self) -> Path:
        return self.root / "use_cases" / self.name / "__init__.py"

    @property
    def on_demand(self) -> Path:
        return self.use_case.with_name("on_demand.py")

    @property
    def test(self) -> Path:
        return self.root / "tests" / "use_cases" / f"test_{self.name}.py"

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def as_of(self) -> Path:
        return self.root / AS_OF_FILE


def check_free(places: Places) -> None:
    """Raises SettingsError if the name is not a valid module name, or is in use."""
    name = places.name
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise SettingsError(
            "is no name for a use case",
            subject=repr(name),
            remedy="Use lower-case letters, digits and single underscores",
        )
    taken = [path for path in (places.use_case.parent, places.test) if path.exists()]
    if taken:
        raise SettingsError(
            "is there already, and is not overwritten",
            subject=str(taken[0].relative_to(places.root)),
            remedy="Choose another name, or delete it first",
        )


def write(places: Places, use_case: str, on_demand: str, test: str, params: str, as_of: str) -> None:
    """Write all texts, except an empty `on_demand`. If one cannot be written, undo the others and raise StoreError."""
    before = {path: _text(path) for path in (places.params, places.as_of)}
    had_folder = places.test.parent.exists()
    try:
        if on_demand:
            write_text(places.on_demand, on_demand)
        write_text(places.use_case, use_case)
        if not had_folder:
            write_text(places.test.with_name("__init__.py"), "")
        write_text(places.test, test)
        write_text(places.as_of, as_of)
        write_text(places.params, params)
    except StoreError:
        shutil.rmtree(places.use_case.parent, ignore_errors=True)
        if places.test.exists():
            places.test.unlink()
        if not had_folder:
            shutil.rmtree(places.test.parent, ignore_errors=True)
        _put_back(before)
        raise


def _put_back(before: Mapping[Path, str | None]) -> None:
    """Let the files hold these texts again; None: there was no file."""
    for path, text in before.items():
        if text is None:
            path.unlink(missing_ok=True)
        elif _text(path) != text:
            write_text(path, text)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
