"""From a model's numbers to predictions: the use case's `postprocess`, the same wherever a model predicts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ratchet.core.errors import DataError
from ratchet.use_case.columns import LABEL_COLUMNS
from ratchet.use_case.contract import Columns, Postprocess, as_it_is

Floats = npt.NDArray[np.float64]


def postprocessed(postprocess: Postprocess, columns: Columns, numbers: Floats) -> Floats:
    """One prediction per number, shape (n,). `postprocess` sees no labels, and is not called without a row.

    Raises DataError if it returns another number of predictions.
    """
    if postprocess is as_it_is or not len(numbers):
        return numbers
    known = {name: column for name, column in columns.items() if name not in LABEL_COLUMNS}
    predictions = np.asarray(postprocess(known, numbers), dtype=np.float64)
    if predictions.shape != numbers.shape:
        raise DataError(
            f"made shape {predictions.shape} for {len(numbers)} predictions",
            subject=f"postprocess, {postprocess.__qualname__} of {postprocess.__module__}",
            remedy="Return one number for each prediction",
        )
    return predictions
