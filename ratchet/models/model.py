"""A trained model with its contract and the digest that identifies it.

A model's directory holds `model.skops` (the sklearn pipeline), `contract.json` and `reference.parquet` (training rows with
the model's own predictions, with which monitoring compares new rows). Nothing in it is pickled.
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
from ratchet.models.postprocessing import postprocessed
from ratchet.storage.digests import digest
from ratchet.storage.files import replacing
from ratchet.storage.partitions import write_table
from ratchet.use_case.contract import Columns, Kind, Postprocess, UseCase, as_it_is


@dataclass(frozen=True)
class Model:
    """A fitted sklearn pipeline, its contract, and the use case's function that turns its numbers into predictions."""

    contract: Contract
    pipeline: Any
    postprocess: Postprocess = as_it_is

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides a prediction; archive bytes, data version and commit are not part of it."""
        contract = self.contract
        return digest(contract.task, list(contract.inputs.items()), contract.fingerprint, _canonical(self.pipeline))

    def predict(self, columns: Columns) -> npt.NDArray[np.float64]:
        """One number per row, shape (n,): the label's expected value, or the probability of 1.

        Raises DataError if an input is missing, or if `postprocess` returns another number of predictions.
        """
        return postprocessed(self.postprocess, columns, self.numbers(columns))

    def numbers(self, columns: Columns) -> npt.NDArray[np.float64]:
        """What the pipeline says of each row, before `postprocess`. Raises DataError if an input is missing."""
        rows = frame(self.contract.inputs, columns)
        if rows.empty:
            return np.empty(0)
        is_binary = self.contract.task == "binary"
        numbers = self.pipeline.predict_proba(rows)[:, 1] if is_binary else self.pipeline.predict(rows)
        return np.asarray(numbers, dtype=np.float64)


def frame(inputs: Mapping[str, Kind], columns: Columns) -> pd.DataFrame:
    """The model's inputs in order: numbers as float64, categories unchanged. Raises DataError if one is missing."""
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
    """Write the whole directory of a model; an existing one is replaced. Equal models give equal bytes.

    `plots` are pictures of its training, name → PNG; they are written to plots/.
    """
    with replacing(directory) as temporary:
        (temporary / ARCHIVE).write_bytes(archive(model.pipeline))
        (temporary / CONTRACT).write_text(model.contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        write_table(temporary / REFERENCE, reference)
        for name, picture in plots.items():
            (temporary / PLOTS).mkdir(exist_ok=True)
            (temporary / PLOTS / f"{name}.png").write_bytes(picture)


def load(directory: Path, use_case: UseCase) -> Model:
    """The model in a directory, with this use case's `postprocess`. Raises RegistryError, also for a type not in TRUSTED."""
    contract = read_contract(directory)
    with loadable(directory):
        return Model(contract, read_archive(directory / ARCHIVE), use_case.postprocess)


def _canonical(value: Any) -> Any:
    """An object's whole state as plain data, without the number of threads; a booster becomes its text."""
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
