"""The numbers of a released model: from its compiled form, or from scikit-learn if it has none that agrees with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inference_pipeline.online.explanations import Explanation
from inference_pipeline.online.release import ReleasedModel
from ratchet.core.errors import DataError, RegistryError, RequestError
from ratchet.models.compiled.compiled_model import CompiledModel, load_compiled
from ratchet.models.compiled.contributions import Contributions
from ratchet.models.postprocessing import postprocessed
from ratchet.use_case.contract import Array, Columns, UseCase, as_it_is

if TYPE_CHECKING:
    from ratchet.models.model import Model

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """One version of a model, with the use case's `postprocess`."""

    released: ReleasedModel
    model: CompiledModel | UncompiledModel
    use_case: UseCase

    @classmethod
    def load(cls, folder: Path, released: ReleasedModel, use_case: UseCase) -> Scorer:
        """The model in a folder of a verified release. Raises DataError or RegistryError if it cannot be used."""
        model: CompiledModel | UncompiledModel
        model = _pipeline(folder, released, use_case) if released.not_compiled else load_compiled(folder)
        return cls(released, model, use_case)

    def predict(self, columns: Columns) -> Floats:
        """One prediction per row, shape (n,). Raises DataError if an input is missing, or if any prediction is not finite."""
        try:
            numbers = self.model.numbers(columns)
        except KeyError as error:
            raise self._incomplete(error) from error
        predictions = self._postprocessed(columns, numbers)
        self._require_finite(predictions.tolist())
        return predictions

    @property
    def takes_rows(self) -> bool:
        """Whether `predict_row` may be used. A use case's own `postprocess` needs columns, and so does scikit-learn."""
        return self.use_case.postprocess is as_it_is and not isinstance(self.model, UncompiledModel)

    def predict_row(self, row: Mapping[str, Any]) -> float:
        """The same prediction for one row of plain values, in which None is missing. Raises DataError as `predict` does."""
        assert not isinstance(self.model, UncompiledModel)
        try:
            prediction = self.model.number(row)
        except KeyError as error:
            raise self._incomplete(error) from error
        self._require_finite([prediction])
        return prediction

    def explain(self, columns: Columns) -> list[Explanation]:
        """For each row, what its inputs add to the model's number, before `postprocess`. Call it after `predict`.

        Raises DataError if that does not add up, and RegistryError if scikit-learn serves the model.
        """
        found = self.model.contributions(columns)
        return [
            Explanation(base, dict(zip(found.names, added, strict=True)), found.scale)
            for base, added in zip(found.base.tolist(), found.added.tolist(), strict=True)
        ]

    def _postprocessed(self, columns: Columns, numbers: Floats) -> Floats:
        try:
            return postprocessed(self.use_case.postprocess, columns, numbers)
        except KeyError as error:  # a ready vector has the inputs alone
            raise RequestError(
                f"cannot be predicted: `postprocess` needs the column {error}, which is no input of the model",
                subject="a ready vector",
                remedy="Send requests to the model's other name, without `.vectors`",
            ) from error

    def _require_finite(self, predictions: Sequence[float]) -> None:
        if not all(map(math.isfinite, predictions)):
            raise self._failed(
                "answered with something that is not a finite number",
                "Roll back (`ratchet rollback`), and check the row's features",
            )

    def _incomplete(self, column: KeyError) -> DataError:
        return self._failed(f"needs the column {column}", "Let on_demand return it, or leave it out of `inputs`")

    def _failed(self, problem: str, remedy: str) -> DataError:
        return DataError(problem, subject=f"model version {self.released.version}", remedy=remedy)


@dataclass(frozen=True)
class UncompiledModel:
    """A model that only scikit-learn can serve."""

    model: Model
    version: int

    def numbers(self, columns: Columns) -> Floats:
        return self.model.numbers(columns)

    def contributions(self, _columns: Columns) -> Contributions:
        raise RegistryError(
            "cannot be explained, because scikit-learn serves it",
            subject=f"model version {self.version}",
            remedy="The service's log says why it has no compiled form",
        )


def _pipeline(folder: Path, released: ReleasedModel, use_case: UseCase) -> UncompiledModel:
    from ratchet.models.model import load  # imports scikit-learn and pandas

    return UncompiledModel(load(folder, use_case), released.version)


def only(columns: Columns, rows: Array) -> dict[str, Array]:
    """The rows of columns that a mask selects."""
    return {name: column[rows] for name, column in columns.items()}
