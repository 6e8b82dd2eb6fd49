"""The states of files, which show that a file changed without reading its content."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

FileState = tuple[str, int, int, int]
"""Path, inode number, size in bytes, and time of the last change in nanoseconds."""
_TICK = 1_000_000_000  # nanoseconds; a file that changes twice within a tick of the file system's clock keeps its time


def file_states(paths: Iterable[Path]) -> list[FileState]:
    """The states of the paths that exist, in the order of their names. A link has the state of its target, or its own if it is
    broken."""
    return [_state(path) for path in sorted(set(paths)) if path.is_symlink() or path.exists()]


def settled(states: Iterable[FileState], now: int | None = None) -> bool:
    """Whether nothing changed in the last second before `now` (nanoseconds since 1970; default: the present)."""
    latest = (time.time_ns() if now is None else now) - _TICK
    return all(changed < latest for *_, changed in states)


def _state(path: Path) -> FileState:
    found = path.stat() if path.exists() else path.lstat()
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns
