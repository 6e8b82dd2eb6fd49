"""The numbers of a released model: from its compiled form, or from scikit-learn if it has none that agrees with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference_pipeline.online.release import ReleasedModel
from ratchet.core.errors import DataError
from ratchet.models.compiled.compiled_model import CompiledModel, load_compiled
from ratchet.models.postprocessing import postprocessed
from ratchet.use_case.contract import Array, Columns, UseCase

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """One version of a model, with the use case's `postprocess`."""

    released: ReleasedModel
    model: CompiledModel
    use_case: UseCase

    @classmethod
    def load(cls, folder: Path, released: ReleasedModel, use_case: UseCase) -> Scorer:
        """The model in a folder of a verified release. Raises DataError or RegistryError if it cannot be used."""
        return cls(released, _pipeline(folder, use_case) if released.not_compiled else load_compiled(folder), use_case)

    def predict(self, columns: Columns) -> Floats:
        """One prediction per row, shape (n,). Raises DataError if an input is missing, or if any prediction is not finite."""
        try:
            numbers = self.model.numbers(columns)
        except KeyError as error:
            raise self._failed(
                f"needs the column {error}", "Let on_demand return it, or leave it out of `inputs`"
            ) from error
        predictions = postprocessed(self.use_case.postprocess, columns, numbers)
        if not np.isfinite(predictions).all():
            raise self._failed(
                "answered with something that is not a finite number",
                "Roll back (`ratchet rollback`), and check the row's features",
            )
        return predictions

    def _failed(self, problem: str, remedy: str) -> DataError:
        return DataError(problem, subject=f"model version {self.released.version}", remedy=remedy)


def _pipeline(folder: Path, use_case: UseCase) -> Any:
    from ratchet.models.model import load  # imports scikit-learn and pandas

    return load(folder, use_case)


def only(columns: Columns, rows: Array) -> dict[str, Array]:
    """The rows of columns that a mask selects."""
    return {name: column[rows] for name, column in columns.items()}
