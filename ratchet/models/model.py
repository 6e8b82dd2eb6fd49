"""A trained model with its contract: what it takes, what it was made from, and the digest that names it.

A model's directory holds `model.skops` (the sklearn pipeline), `contract.json` and `reference.parquet` (training rows with
the model's own predictions, which monitoring compares new rows with). Nothing in it is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ratchet.core.errors import DataError
from ratchet.models.archive import archive, read_archive
from ratchet.models.contract import Contract, loadable, read_contract
from ratchet.models.model_files import ARCHIVE, CONTRACT, PLOTS, REFERENCE
from ratchet.storage.digests import digest
from ratchet.storage.files import replacing
from ratchet.storage.partitions import write_table
from ratchet.use_case.columns import LABEL_COLUMNS
from ratchet.use_case.contract import Columns, Kind, Postprocess, UseCase, as_it_is


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
        (temporary / ARCHIVE).write_bytes(archive(model.pipeline))
        (temporary / CONTRACT).write_text(model.contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        write_table(temporary / REFERENCE, reference)
        for name, picture in plots.items():
            (temporary / PLOTS).mkdir(exist_ok=True)
            (temporary / PLOTS / f"{name}.png").write_bytes(picture)


def load(directory: Path, use_case: UseCase) -> Model:
    """The model of a directory, of this use case; what it may consist of is our own list. Raises RegistryError."""
    contract = read_contract(directory)
    with loadable(directory):
        return Model(contract, read_archive(directory / ARCHIVE), use_case.postprocess)


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
