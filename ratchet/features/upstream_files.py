"""The Parquet files of another system: which ones there are, and their contents. No library of tables is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ratchet.storage.digests import md5
from ratchet.storage.file_patterns import Place, entries

SUFFIX = ".parquet"
_NOT_READ = (".", "_")
"""How the names of files and folders begin that other systems use while they write, such as `_temporary`."""


def find_files(place: Path) -> list[Path]:
    """The file, the Parquet files below the folder, or those that match the pattern, in order; empty if there is none."""
    found = Place.of(place)
    if found.pattern:
        matching = [path for path, reason in entries(found) if not reason] if found.fixed.is_dir() else []
        return sorted(file for path in matching for file in _below(path))
    return sorted(_below(found.fixed))


def file_digests(files: Iterable[Path], root: Path) -> dict[str, str]:
    """File → its MD5. Files of the checkout at `root` have their path in it."""
    return {str(path.relative_to(root) if path.is_relative_to(root) else path): md5(path) for path in files}


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for file in path.rglob(f"*{SUFFIX}") if path.is_dir() else ():
        if not any(part.startswith(_NOT_READ) for part in file.relative_to(path).parts):
            yield file
