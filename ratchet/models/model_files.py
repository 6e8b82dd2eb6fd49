"""Which files a model's directory holds, and their checksums: known without importing what would load them."""

from __future__ import annotations

import hashlib
from pathlib import Path

ARCHIVE, CONTRACT, REFERENCE, PLOTS = "model.skops", "contract.json", "reference.parquet", "plots"
FILES = (ARCHIVE, CONTRACT, REFERENCE)
"""What is registered of a model's directory; plots stay with its run."""


def checksums(directory: Path) -> dict[str, str]:
    """SHA-256 of the model's files, by name, without parsing any of them; those that are not there are left out."""
    found = [directory / name for name in FILES if (directory / name).is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
