"""How much of a label's variance groups of rows explain, and whether that is more than chance."""

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
"""The number of rows from which the baseline uses a group."""
BEYOND_CHANCE = 3.0
"""Chance hardly ever makes the F ratio exceed 1 by more than this many standard deviations."""


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
        """The share of variance that lies between groups, corrected for chance: omega squared (Hays 1963), from 0 to 1."""
        if not self._is_defined:
            return 0.0
        return max(0.0, (self.between - (self.groups - 1) * self.within) / (self.total + self.within))

    @property
    def is_chance(self) -> bool:
        """Whether random groups could differ as much, by the F ratio; its standard deviation is about √(2 / (groups − 1))."""
        if not self._is_defined:
            return True
        freedom = self.groups - 1
        return self.between / freedom <= self.within * (1 + BEYOND_CHANCE * sqrt(2 / freedom))

    @property
    def _is_defined(self) -> bool:
        return self.total > 0 and 1 < self.groups < self.rows


def spread(groups: Codes, label: Floats) -> Spread:
    """The analysis of variance of a label without missing values. `groups` are codes from 0 to n − 1, each of which occurs."""
    size = np.bincount(groups)
    total = float(((label - label.mean()) ** 2).sum())
    means = np.bincount(groups, label) / size
    between = float((size * (means - label.mean()) ** 2).sum())
    return Spread(len(label), len(size), between, (total - between) / max(len(label) - len(size), 1), total)


def codes(columns: Sequence[Array]) -> Codes:
    """For each row, the code (from 0) of its combination of values. A missing value counts as a value."""
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        own = pd.factorize(column, use_na_sentinel=False)[0]
        combined = pd.factorize(combined * (int(own.max(initial=0)) + 1) + own)[0].astype(np.int64)
    return combined


def merged(groups: Codes, least: int) -> Codes:
    """The groups, with all those of fewer than `least` rows merged into one, as the baseline does."""
    size = np.bincount(groups)
    return codes([np.where(size[groups] < least, -1, groups)])
