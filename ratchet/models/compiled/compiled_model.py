"""A compiled model in a directory. It is admitted only if it gives the golden rows the numbers that the model itself gave.

`compiled.json` holds the categories of the encoder or the groups of the baseline, `booster.txt` the trees, if there are any,
and `golden.json` the golden rows with their numbers, where NaN and Infinity stand for themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ratchet.core.errors import DataError
from ratchet.models.compiled.contributions import Contributions
from ratchet.models.compiled.groups import group_parts, groups
from ratchet.models.compiled.trees import tree_parts, trees
from ratchet.use_case.contract import Columns

Floats = npt.NDArray[np.float64]
PARTS, BOOSTER, GOLDEN = "compiled.json", "booster.txt", "golden.json"


class CompiledModel(Protocol):
    """What gives a model's numbers, before `postprocess`."""

    def numbers(self, columns: Columns) -> Floats:
        """One number per row, shape (n,). Raises KeyError if a column is missing."""

    def number(self, row: Mapping[str, Any]) -> float:
        """The number of one row of plain values, in which None is missing. Raises KeyError if a column is missing."""

    def contributions(self, columns: Columns) -> Contributions:
        """What each column adds to the numbers. Raises KeyError if a column is missing, DataError if they do not add up."""


def write_compiled(directory: Path, pipeline: Any, golden: Columns, numbers: Floats) -> None:
    """Write the compiled form of a pipeline into a directory. `numbers` are what the pipeline gives for the golden rows.

    Raises DataError if the pipeline has no compiled form.
    """
    parts: dict[str, Any] = {}
    if found := tree_parts(pipeline):
        parts["columns"], booster = found
        parts["sha256"] = sha256(booster).hexdigest()
        (directory / BOOSTER).write_bytes(booster)
    elif levels := group_parts(pipeline):
        parts["levels"] = levels
    else:
        raise DataError(
            "has no compiled form: it is neither an encoder of categories with LightGBM, nor a baseline",
            subject=f"the pipeline {type(pipeline).__name__}",
            remedy="It can be served by scikit-learn",
        )
    (directory / PARTS).write_text(json.dumps(parts, allow_nan=False), encoding="utf-8")
    rows = {name: column.tolist() for name, column in golden.items()}
    (directory / GOLDEN).write_text(json.dumps({"rows": rows, "numbers": numbers.tolist()}), encoding="utf-8")


def load_compiled(directory: Path) -> CompiledModel:
    """The compiled model in a directory. Raises DataError if any golden row gets another number, in any way to ask for it."""
    model = _loaded(directory, json.loads((directory / PARTS).read_bytes()))
    golden, numbers = _golden(directory)
    rows = [{name: column[row : row + 1] for name, column in golden.items()} for row in range(len(numbers))]
    alone = [model.numbers(row) for row in rows]
    plain = [model.number({name: column.tolist()[0] for name, column in row.items()}) for row in rows]
    for found in (model.numbers(golden), np.concatenate(alone), np.array(plain, np.float64)):
        wrong = found.view(np.int64) != numbers.view(np.int64)
        if wrong.any():
            raise DataError(
                f"gives {int(wrong.sum())} of {len(numbers)} golden rows another number",
                subject=f"the compiled model in {directory}",
                remedy="It can be served by scikit-learn",
            )
    return model


def _golden(directory: Path) -> tuple[Columns, Floats]:
    golden = json.loads((directory / GOLDEN).read_bytes())
    rows: Columns = {name: np.array(values, _kind(values)) for name, values in golden["rows"].items()}
    return rows, np.array(golden["numbers"], np.float64)


def _kind(values: Sequence[object]) -> type:
    return np.float64 if all(isinstance(value, float) for value in values) else object


def _loaded(directory: Path, parts: Mapping[str, Any]) -> CompiledModel:
    if "levels" in parts:
        return groups(parts["levels"])
    booster = (directory / BOOSTER).read_bytes()
    if sha256(booster).hexdigest() != parts["sha256"]:  # LightGBM may end the process over a file that is cut short
        raise DataError("was changed", subject=str(directory / BOOSTER), remedy="Compile the model again")
    return trees(parts["columns"], booster)
