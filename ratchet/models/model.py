"""A trained model with its contract: what it takes, what it was made from, and the digest that names it.

A model's directory holds `model.skops` (the sklearn pipeline), `contract.json` and `reference.parquet` (training rows with
the model's own predictions, which monitoring compares new rows with). Nothing in it is pickled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from zipfile import ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import skops.io
from pydantic import AwareDatetime

from ratchet.core.errors import DataError, RegistryError
from ratchet.core.settings import Frozen
from ratchet.models.model_files import ARCHIVE, CONTRACT, PLOTS, REFERENCE
from ratchet.storage.digests import digest
from ratchet.storage.files import replacing
from ratchet.storage.partitions import write_table
from ratchet.use_case.columns import LABEL_COLUMNS
from ratchet.use_case.contract import Columns, Kind, Postprocess, Task, UseCase, as_it_is

TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "ratchet.models.baseline.BackoffBaseline",
)
"""What an archive may hold beside the types of numpy and sklearn that skops itself vouches for."""
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)


class Contract(Frozen):
    """What a model needs and where it comes from. No label known at or after `trained_until` was used.

    `data_version` names the frozen set that it was fitted on, `features_version` the features that this came from; both as DVC
    names a directory.
    """

    model_name: str
    use_case: str
    source: str
    task: Task
    kind: Literal["baseline", "lightgbm"]
    feature_service: str
    fingerprint: str
    inputs: dict[str, Kind]
    trained_from: AwareDatetime
    trained_until: AwareDatetime
    data_version: str
    features_version: str
    commit: str | None
    dirty: bool
    experiment: str | None
    params: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A fitted sklearn pipeline under its contract, and what its use case makes of the numbers."""

    contract: Contract
    pipeline: Any
    postprocess: Postprocess = as_it_is

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what decides a prediction, and nothing else: not the archive's bytes, data version or commit."""
        contract = self.contract
        return digest(contract.task, list(contract.inputs.items()), contract.fingerprint, _canonical(self.pipeline))

    def predict(self, columns: Columns) -> npt.NDArray[np.float64]:
        """One number per row, shape (n,): the label's expected value, or the probability of 1. Raises DataError.

        Labels may be among the columns; `postprocess` does not see them.
        """
        rows = frame(self.contract.inputs, columns)
        if rows.empty:
            return np.empty(0)
        is_binary = self.contract.task == "binary"
        numbers = self.pipeline.predict_proba(rows)[:, 1] if is_binary else self.pipeline.predict(rows)
        known = {name: column for name, column in columns.items() if name not in LABEL_COLUMNS}
        predictions = np.asarray(self.postprocess(known, np.asarray(numbers, dtype=np.float64)), dtype=np.float64)
        if predictions.shape != (len(rows),):
            raise DataError(
                f"made shape {predictions.shape} of {len(rows)} predictions",
                subject=f"postprocess of {self.contract.use_case}",
                remedy="Return one number for each",
            )
        return predictions


def frame(inputs: Mapping[str, Kind], columns: Columns) -> pd.DataFrame:
    """The model's inputs in order: numbers as float64, categories as they come. Raises DataError for one that lacks."""
    missing = [name for name in inputs if name not in columns]
    if missing:
        raise DataError(
            f"there is no column {', '.join(missing)}",
            subject="model inputs",
            remedy="Give the model the columns of its own feature service",
        )
    return pd.DataFrame(
        {
            name: np.asarray(columns[name], dtype=np.float64 if kind == "number" else None)
            for name, kind in inputs.items()
        }
    )


def save(model: Model, directory: Path, reference: pa.Table, plots: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """Write the model's directory whole, in place of one that stands there. Equal models are equal bytes.

    `plots` are pictures of its training, name → PNG; they go to plots/.
    """
    with replacing(directory) as temporary:
        (temporary / ARCHIVE).write_bytes(_archive(model.pipeline))
        (temporary / CONTRACT).write_text(model.contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        write_table(temporary / REFERENCE, reference)
        for name, picture in plots.items():
            (temporary / PLOTS).mkdir(exist_ok=True)
            (temporary / PLOTS / f"{name}.png").write_bytes(picture)


def load(directory: Path, use_case: UseCase) -> Model:
    """The model of a directory, of this use case; what it may consist of is our own list. Raises RegistryError."""
    contract = read_contract(directory)
    with _loadable(directory):
        return Model(contract, skops.io.load(directory / ARCHIVE, trusted=TRUSTED), use_case.postprocess)


def read_contract(directory: Path) -> Contract:
    """What the model of a directory says of itself; its archive is not looked at. Raises RegistryError."""
    with _loadable(directory):
        return Contract.model_validate_json((directory / CONTRACT).read_bytes())


@contextmanager
def _loadable(directory: Path) -> Iterator[None]:
    """Whatever a broken file makes its readers raise is one clear error."""
    try:
        yield
    except Exception as error:
        raise RegistryError(
            f"is not a model that may be loaded ({' '.join(str(error).split())})",
            subject=str(directory),
            remedy="Train it again, or roll back to a version that stands",
        ) from error


def _canonical(value: Any) -> Any:
    """An object's whole state as plain data, without how many threads made it; a booster is its text."""
    if hasattr(value, "model_to_string"):
        trees, _, rest = value.model_to_string().partition("\nparameters:\n")
        return [trees, rest.rpartition("end of parameters")[2]]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.tolist()]
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items() if key != "n_jobs"}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, str | int | float):
        return value
    if callable(value) or not hasattr(value, "__dict__"):
        return _name(value) if hasattr(value, "__qualname__") else repr(value)
    return [_name(type(value)), _canonical(vars(value))]


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _archive(pipeline: Any) -> bytes:
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
