"""What each column of a row adds to the number that a model gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ratchet.core.errors import DataError

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-9
"""Sums may differ by this share of all that is added."""


@dataclass(frozen=True)
class Contributions:
    """For each row, a base value, shape (n,), and what each of `names` adds to it, shape (n, k).

    The sum is on the scale "prediction" (the model's number itself), "log-odds" (of the number, a probability), "log" (of the
    number) or "raw" (the objective makes the number of it in another way).
    """

    names: Sequence[str]
    base: Floats
    added: Floats
    scale: str

    def require_sums(self, sums: Floats) -> None:
        """Raises DataError if a row does not add up to its sum."""
        off = np.abs(self.base + self.added.sum(axis=1) - sums)
        if not (off <= _ROUNDING * (np.abs(self.base) + np.abs(self.added).sum(axis=1) + 1)).all():
            raise DataError(
                f"do not add up to the prediction: {off.max():g} is missing",
                subject="the contributions",
                remedy="Report this with the model: LightGBM should make them so that they do",
            )
