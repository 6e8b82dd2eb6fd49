"""An encoder of categories and LightGBM's trees, without scikit-learn and pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ratchet.models.compiled.contributions import Contributions
from ratchet.models.compiled.native_booster import NativeBooster
from ratchet.use_case.contract import Columns

Floats = npt.NDArray[np.float64]
Category = str | float | bool
_MISSING = float("nan")
_SCALES = {"binary": "log-odds", "poisson": "log", "gamma": "log", "tweedie": "log"}
"""The scale on which trees add up if they do not add up to the prediction, by LightGBM's name of their objective."""


@dataclass(frozen=True)
class CompiledTrees:
    """The booster's columns in its order, with the code of each category; None for a column of numbers."""

    columns: Sequence[tuple[str, Mapping[Category, float] | None]]
    booster: NativeBooster

    def numbers(self, columns: Columns) -> Floats:
        """One number per row, shape (n,). Raises KeyError if a column is missing."""
        rows = self.encoded(columns)
        return np.array([self.booster.predict_one(rows[0])]) if len(rows) == 1 else self.booster.predict(rows)

    def number(self, row: Mapping[str, Any]) -> float:
        """The number of one row of plain values. Raises KeyError if a column is missing."""
        encoded = [row[name] if codes is None else codes.get(row[name], _MISSING) for name, codes in self.columns]
        return self.booster.predict_one(np.array(encoded, np.float64))  # None becomes NaN

    def contributions(self, columns: Columns) -> Contributions:
        """SHAP values (Lundberg and others, 2018, arXiv:1802.03888). Raises KeyError, or DataError if they do not add up."""
        rows = self.encoded(columns)
        values = self.booster.contributions(rows)
        sums = self.booster.raw(rows)
        is_same = np.array_equal(sums, self.booster.predict(rows))
        scale = "prediction" if is_same else _SCALES.get(self.booster.objective, "raw")
        found = Contributions([name for name, _ in self.columns], values[:, -1], values[:, :-1], scale)
        found.require_sums(sums)
        return found

    def encoded(self, columns: Columns) -> Floats:
        """The rows that the trees get, shape (n, width): numbers as they are, a missing or unseen category as NaN."""
        encoded = [
            columns[name] if codes is None else [codes.get(each, _MISSING) for each in columns[name].tolist()]
            for name, codes in self.columns
        ]
        return np.concatenate(encoded, dtype=np.float64, casting="unsafe").reshape(len(encoded), -1).T.copy()


def tree_parts(pipeline: Any) -> tuple[list[Any], bytes] | None:
    """What `trees` needs, as plain data: columns with their categories in order, and the booster's text.

    None if the pipeline is of another form than an encoder of categories followed by LightGBM.
    """
    encode, estimator = pipeline[0], pipeline[-1]
    if len(pipeline) != 2 or not (hasattr(encode, "transformers_") and hasattr(estimator, "booster_")):
        return None
    columns: list[Any] = []
    for _, encoder, names in encode.transformers_:
        if hasattr(encoder, "categories_"):
            columns += [
                [name, list(map(_category, found.tolist()))]
                for name, found in zip(names, encoder.categories_, strict=True)
            ]
        else:
            columns += [[name, None] for name in names]
    return columns, estimator.booster_.model_to_string().encode()


def trees(columns: Sequence[tuple[str, Sequence[Category | None] | None]], booster: bytes) -> CompiledTrees:
    """The inverse of `tree_parts`. Raises DataError if LightGBM does not accept the booster."""
    return CompiledTrees([(name, _codes(categories)) for name, categories in columns], NativeBooster(booster))


def _category(value: Category | None) -> Category | None:
    """A category as JSON can hold it: a missing one is None."""
    return None if value != value else value


def _codes(categories: Sequence[Category | None] | None) -> dict[Category, float] | None:
    """Category → its place. The place of the missing one stays free."""
    if categories is None:
        return None
    return {value: float(place) for place, value in enumerate(categories) if value is not None}
