"""The states of files, by which it is seen that something changed without reading anything."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

FileState = tuple[str, int, int, int]
"""Path, inode number, size in bytes, and time of the last change in nanoseconds."""
_TICK = 1_000_000_000  # nanoseconds; within a tick of the file system's clock a file can change and keep its time


def file_states(paths: Iterable[Path]) -> list[FileState]:
    """The state of each that is there, in the order of their paths: of a folder or a link its own, not of what it leads to."""
    return [_state(path) for path in sorted(set(paths)) if path.is_symlink() or path.exists()]


def settled(states: Iterable[FileState], now: int | None = None) -> bool:
    """Whether nothing changed just before `now` (nanoseconds since 1970; default: the present)."""
    latest = (time.time_ns() if now is None else now) - _TICK
    return all(changed < latest for *_, changed in states)


def _state(path: Path) -> FileState:
    found = path.lstat()
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns
