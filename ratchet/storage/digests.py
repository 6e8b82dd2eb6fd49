"""Digests: of a file, as DVC names its content, and of a list of inputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def md5(path: Path) -> str:
    """A file's MD5, which is how DVC names its content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def digest(*parts: object) -> str:
    """One name for a list of inputs; it changes when any of them does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
