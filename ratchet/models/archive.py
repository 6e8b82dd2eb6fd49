"""A sklearn pipeline as a skops archive: nothing is pickled, and equal pipelines give equal bytes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import skops.io

TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "ratchet.models.BackoffBaseline",
)
"""The types that an archive may hold, in addition to those of numpy and sklearn that skops trusts by itself."""
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)


def read_archive(path: Path) -> Any:
    """The pipeline in an archive, which may hold only trusted types. Raises any exception of skops for other files."""
    return skops.io.load(path, trusted=TRUSTED)


def archive(pipeline: Any) -> bytes:
    """The bytes that skops writes for a pipeline, with running numbers instead of memory addresses and without times.

    Pipelines with equal state give equal bytes.
    """
    names: dict[str, int] = {}

    def rename(node: dict[str, Any]) -> dict[str, Any]:
        if "__id__" in node:
            node["__id__"] = names.setdefault(str(node["__id__"]), len(names) + 1)
        if "file" in node:
            node["file"] = _renamed(node["file"], names)
        return node

    buffer = io.BytesIO()
    with ZipFile(io.BytesIO(skops.io.dumps(pipeline))) as given, ZipFile(buffer, "w") as written:
        schema = json.dumps(json.loads(given.read("schema.json"), object_hook=rename))
        for name in sorted(set(given.namelist()) - {"schema.json"}, key=lambda name: _renamed(name, names)):
            written.writestr(ZipInfo(_renamed(name, names), EPOCH_OF_ZIP), given.read(name))
        written.writestr(ZipInfo("schema.json", EPOCH_OF_ZIP), schema)
    return buffer.getvalue()


def _renamed(file: str, names: dict[str, int]) -> str:
    address, _, suffix = file.partition(".")
    return f"{names.setdefault(address, len(names) + 1)}.{suffix}"
