"""The folder through which the loader tells serving processes which release serves.

`current.json` names the release. Each release has a folder of its own beside it, which never changes: another model is another
release.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ratchet.core.errors import StoreUnavailableError
from ratchet.core.settings import Frozen
from ratchet.project.run import Run
from ratchet.storage.files import remove_leftovers, write_text

KEPT = 3
"""Releases that are kept: the one that serves, and those that served before it, so that a rollback needs no download."""


class Current(Frozen):
    """What the loader says. `release` is the name of a folder; None if no model may serve.

    `examined` is the digest of what reconcile had announced when the loader last found out what serves. If it found a `problem`
    instead, the release is an earlier one, which was accepted then.
    """

    release: str | None = None
    examined: str = ""
    problem: str = ""


@dataclass(frozen=True)
class ReleaseFolder:
    """The releases of a use case, and which of them serves."""

    path: Path
    announcement: Path
    """Where reconcile announces which model serves."""

    @classmethod
    def of(cls, run: Run) -> ReleaseFolder:
        return cls(run.paths.releases, run.paths.serving_file)

    def announced(self) -> str:
        """A digest of what reconcile announced last."""
        content = self.announcement.read_bytes() if self.announcement.exists() else b""
        return hashlib.sha256(content).hexdigest()

    def current(self) -> Current:
        """What the loader said last. Raises StoreUnavailableError if that cannot be read."""
        try:
            return Current.model_validate_json(self._current.read_bytes())
        except FileNotFoundError:
            return Current()
        except (OSError, ValidationError) as error:
            raise StoreUnavailableError(
                f"cannot be read ({error})", subject=str(self._current), remedy="The loader writes it anew: start it"
            ) from error

    def say(self, current: Current) -> None:
        """Let serving processes know. Saying the same again only shows that the loader is alive."""
        if self._current.exists() and self.current() == current:
            os.utime(self._current)
        else:
            write_text(self._current, current.model_dump_json(indent=2) + "\n")

    def silence(self) -> float:
        """Seconds since the loader last said something; infinite if it never did."""
        try:
            return max(0.0, time.time() - self._current.stat().st_mtime)
        except FileNotFoundError:
            return float("inf")

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
