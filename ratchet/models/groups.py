"""What groups of rows say of a label: how much of its variance lies between them, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.use_case.contract import Array

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
LEAST = 20
"""Rows from which the baseline trusts a group."""
BEYOND_CHANCE = 3.0
"""Standard deviations of the F ratio above 1 that chance hardly reaches."""


@dataclass(frozen=True)
class Spread:
    """An analysis of variance: sums of squares `between` groups and in `total`, and the mean square `within` them."""

    rows: int
    groups: int
    between: float
    within: float
    total: float

    @property
    def explained(self) -> float:
        """The share of the variance between groups, less what chance would give: omega squared (Hays 1963), 0 to 1."""
        if not self._is_defined:
            return 0.0
        return max(0.0, (self.between - (self.groups - 1) * self.within) / (self.total + self.within))

    @property
    def is_chance(self) -> bool:
        """Whether groups drawn at random would differ as much, by the F ratio, whose deviation is about √(2 / (groups − 1))."""
        if not self._is_defined:
            return True
        freedom = self.groups - 1
        return self.between / freedom <= self.within * (1 + BEYOND_CHANCE * sqrt(2 / freedom))

    @property
    def _is_defined(self) -> bool:
        return self.total > 0 and 1 < self.groups < self.rows


def spread(groups: Codes, label: Floats) -> Spread:
    """Of a label without gaps, by the code of each row's group: from 0, none left out."""
    size = np.bincount(groups)
    total = float(((label - label.mean()) ** 2).sum())
    means = np.bincount(groups, label) / size
    between = float((size * (means - label.mean()) ** 2).sum())
    return Spread(len(label), len(size), between, (total - between) / max(len(label) - len(size), 1), total)


def codes(columns: Sequence[Array]) -> Codes:
    """A code from 0 for each combination of values; a missing one is a value."""
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        own = pd.factorize(column, use_na_sentinel=False)[0]
        combined = pd.factorize(combined * (int(own.max(initial=0)) + 1) + own)[0].astype(np.int64)
    return combined


def merged(groups: Codes, least: int) -> Codes:
    """Groups of fewer rows than `least` taken together, as the baseline does."""
    size = np.bincount(groups)
    return codes([np.where(size[groups] < least, -1, groups)])
