"""Files and folders that appear whole or not at all, and JSON files."""

from __future__ import annotations

import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ratchet.core.errors import StoreUnavailableError


@contextmanager
def atomic(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary sibling of `path` to write to. It is moved to `path` when the block ends without an error.

    If `replace` is false, a file that exists at `path` by then is kept. Raises StoreUnavailableError if the file cannot be
    written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        if replace:
            temporary.replace(path)
        else:
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # it does not exist either if the parent is not a folder
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left when they were writing the file or folder. No other process may be writing it."""
    for kind in ("tmp", "old"):
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.{kind}"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """A temporary sibling folder to fill. It replaces `directory` when the block ends without an error.

    What a killed process left when it did the same is removed. No other process may be doing it.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    unique = uuid.uuid4().hex
    temporary, replaced = (directory.with_name(f".{directory.name}.{unique}.{kind}") for kind in ("tmp", "old"))
    temporary.mkdir()
    try:
        yield temporary
        if directory.exists():
            directory.replace(replaced)
        temporary.replace(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def unwritable(path: Path, error: OSError) -> StoreUnavailableError:
    """The error for a file that cannot be written."""
    return StoreUnavailableError(
        f"cannot be written ({error})",
        subject=str(path),
        remedy="Make room or fix the folder's permissions, and run again: nothing is half-written",
    )


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Sorted, indented, strict JSON (no NaN), atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
