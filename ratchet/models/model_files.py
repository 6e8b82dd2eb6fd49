"""The files of a model's directory and their checksums, without importing a library that would load them."""

from __future__ import annotations

import hashlib
from pathlib import Path

ARCHIVE, CONTRACT, REFERENCE, PLOTS = "model.skops", "contract.json", "reference.parquet", "plots"
FILES = (ARCHIVE, CONTRACT, REFERENCE)
"""The files of a model's directory that are registered. Plots are logged with its run."""


def checksums(directory: Path) -> dict[str, str]:
    """File name → SHA-256, without parsing any file. Absent files are left out."""
    found = [directory / name for name in FILES if (directory / name).is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
