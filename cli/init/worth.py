"""How much of a label a column explains by itself: what a baseline may group by, and what looks like a leak."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
BANDS = (0.2, 0.4, 0.6, 0.8)


def codes(*columns: npt.NDArray[Any]) -> Codes:
    """One number for each combination of values."""
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        own = pd.factorize(column, use_na_sentinel=False)[0]
        combined = pd.factorize(combined * (int(own.max(initial=0)) + 1) + own)[0].astype(np.int64)
    return combined


def explained(groups: Codes, label: Floats) -> float:
    """The share of the label's variance between groups, less what chance would give: omega squared (Hays 1963), 0 to 1."""
    groups = codes(groups)
    n, size = len(label), np.bincount(groups)
    total = float(((label - label.mean()) ** 2).sum())
    if not total or len(size) < 2 or n <= len(size):
        return 0.0
    means = np.bincount(groups, label) / size
    between = float((size * (means - label.mean()) ** 2).sum())
    within = (total - between) / (n - len(size))
    return max(0.0, (between - (len(size) - 1) * within) / (total + within))


def edges(values: Floats) -> list[float]:
    """Where a number is cut into five bands of about as many rows, to three digits."""
    cuts = np.nanquantile(values, BANDS)
    return sorted({float(f"{cut:.3g}") for cut in cuts})


def correlation(values: Floats, label: Floats) -> float:
    """The absolute correlation of ranks where both are there."""
    there = ~np.isnan(values) & ~np.isnan(label)
    ranks = [pd.Series(each[there]).rank() for each in (values, label)]
    found = ranks[0].corr(ranks[1]) if there.sum() > 1 and all(rank.nunique() > 1 for rank in ranks) else 0.0
    return abs(float(found))
