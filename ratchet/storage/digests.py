"""Digests: of a file and of a directory, as DVC names their content, and of a list of inputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def md5(path: Path) -> str:
    """A file's MD5, which is how DVC names its content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def directory_md5(directory: Path) -> str:
    """The name that DVC gives to a directory's content, computed from the present files."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = [{"md5": md5(path), "relpath": path.relative_to(directory).as_posix()} for path in files]
    listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]))
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def digest(*parts: object) -> str:
    """One SHA-256 for a list of inputs; it changes when any of them changes."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
