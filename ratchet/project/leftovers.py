"""Files that killed processes left half-written."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ratchet.core.paths import Paths

_LEFTOVER = re.compile(r"\..+\.(tmp|old)")
_DAY = 86_400
"""Seconds. No file is written for so long."""


def leftovers(paths: Paths, cache: Path | None) -> list[Path]:
    """The temporary files and folders in what belongs to a scope, and in `cache`, that nobody has written to for a day."""
    before = time.time() - _DAY
    found = sorted({*_found(paths, cache), *(paths.state / "models").glob("tmp*")})
    whole = [path for path in found if not any(parent in found for parent in path.parents)]
    return [path for path in whole if path.lstat().st_mtime < before]


def _found(paths: Paths, cache: Path | None) -> Iterator[Path]:
    for folder in (paths.root, paths.shared_state):
        yield from (path for path in folder.glob(".*") if _LEFTOVER.fullmatch(path.name))
    for folder in (paths.data, paths.state, paths.reports, *([cache] if cache else [])):
        yield from (path for path in folder.rglob(".*") if _LEFTOVER.fullmatch(path.name))


def remove_paths(paths: Sequence[Path]) -> None:
    """Remove files and folders, and folders that are empty then. May be killed at any point and called again."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
