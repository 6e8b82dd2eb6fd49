"""A sklearn pipeline as a skops archive: nothing is pickled, and equal pipelines are equal bytes."""

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
"""What an archive may hold beside the types of numpy and sklearn that skops itself vouches for."""
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)


def read_archive(path: Path) -> Any:
    """The pipeline in an archive of nothing but what is trusted. Raises whatever a broken or foreign file makes skops raise."""
    return skops.io.load(path, trusted=TRUSTED)


def archive(pipeline: Any) -> bytes:
    """The pipeline as skops writes it, with running numbers for memory addresses and no clock: equal state, equal bytes."""
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
