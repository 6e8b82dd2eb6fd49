"""The folder through which the loader tells serving processes which release serves, and they tell it what is wrong with it.

`current.json` names the release. Each release has a folder of its own beside it, which never changes: another model is another
release. `objection.json` says why a challenger was taken back.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ratchet.core.errors import StoreUnavailableError
from ratchet.core.frozen import Frozen
from ratchet.gate.rollout import Rollout
from ratchet.project.run import Run
from ratchet.storage.files import remove_leftovers, write_text

Said = TypeVar("Said", bound=Frozen)
KEPT = 3
"""Releases that are kept: the one that serves, and those that served before it, so that a rollback needs no download."""


class Current(Frozen):
    """What the loader says. `release` is the name of a folder; None if no model may serve. `rollout` is the one that goes on
    with it.

    `examined` is the digest of what had been announced when the loader last found out what serves. If it found a `problem`
    instead, the release is an earlier one, which was accepted then.
    """

    release: str | None = None
    rollout: Rollout | None = None
    examined: str = ""
    problem: str = ""


class Objection(Frozen):
    """Why a serving process took a challenger back. `started` is the number of its rollout."""

    started: int
    reason: str


@dataclass(frozen=True)
class ReleaseFolder:
    """The releases of a use case, and which of them serves."""

    path: Path
    announcements: tuple[Path, ...]
    """Where is announced which model serves, and which is rolled out."""

    @classmethod
    def of(cls, run: Run) -> ReleaseFolder:
        if run.paths.packaged.is_dir():
            return cls.packaged(run, run.paths.packaged)
        return cls(run.paths.releases, (run.paths.serving_file, run.paths.rollout_file))

    @classmethod
    def packaged(cls, run: Run, folder: Path) -> ReleaseFolder:
        """The one release of a use case in a Bento, whose files are in a folder."""
        return cls(folder / run.scope.folder, ())

    @property
    def is_packaged(self) -> bool:
        """Whether nothing is announced any more, and there is no loader."""
        return not self.announcements

    def announced(self) -> str:
        """A digest of what was announced last."""
        contents = [path.read_bytes() if path.exists() else b"" for path in self.announcements]
        return hashlib.sha256(b"\n".join(contents)).hexdigest()

    def current(self) -> Current:
        """What the loader said last. Raises StoreUnavailableError if that cannot be read."""
        return _read(Current, self._current) or Current()

    def object(self, objection: Objection) -> None:
        """Let the loader and the other serving processes know that a challenger was taken back."""
        write_text(self._objection, objection.model_dump_json(indent=2) + "\n")

    def objection_to(self, rollout: Rollout) -> str:
        """Why the challenger of a rollout was taken back; empty if it was not. What cannot be read is an objection, too."""
        try:
            found = _read(Objection, self._objection)
        except StoreUnavailableError as error:
            return str(error)
        return found.reason if found and found.started == rollout.started else ""

    def say(self, current: Current) -> None:
        """Let serving processes know. Saying the same again only shows that the loader is alive."""
        if self._current.exists() and self.current() == current:
            os.utime(self._current)
        else:
            write_text(self._current, current.model_dump_json(indent=2) + "\n")

    def said_at(self) -> datetime | None:
        """When the loader last said something; None if it never did."""
        try:
            return datetime.fromtimestamp(self._current.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def folder(self, release: str) -> Path:
        return self.path / release

    def tidy(self, serving: str) -> None:
        """Remove all but the last releases."""
        folders = [path for path in self.path.iterdir() if path.is_dir() and not path.name.startswith(".")]
        for path in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            if path.name != serving:
                shutil.rmtree(path)
        remove_leftovers(self._current)

    @property
    def _current(self) -> Path:
        return self.path / "current.json"

    @property
    def _objection(self) -> Path:
        return self.path / "objection.json"


def _read(kind: type[Said], path: Path) -> Said | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise StoreUnavailableError(
            f"cannot be read ({error})", subject=str(path), remedy="Remove it: the service writes it anew"
        ) from error
