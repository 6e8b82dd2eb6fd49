"""How much of a label a single column explains, to choose the baseline's groups and to find columns that look like a leak."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.models import groups

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
BANDS = (0.2, 0.4, 0.6, 0.8)


def codes(*columns: npt.NDArray[Any]) -> Codes:
    """One number for each combination of values."""
    return groups.codes(columns)


def explained(split: Codes, label: Floats) -> float:
    """The share of the label's variance between groups, minus the share that chance would give, 0 to 1."""
    return groups.spread(codes(split), label).explained


def edges(values: Floats) -> list[float]:
    """The values that cut a number into five bands with about equally many rows, to three digits."""
    cuts = np.nanquantile(values, BANDS)
    return sorted({float(f"{cut:.3g}") for cut in cuts})


def correlation(values: Floats, label: Floats) -> float:
    """The absolute rank correlation of the rows that have both values."""
    there = ~np.isnan(values) & ~np.isnan(label)
    ranks = [pd.Series(each[there]).rank() for each in (values, label)]
    found = ranks[0].corr(ranks[1]) if there.sum() > 1 and all(rank.nunique() > 1 for rank in ranks) else 0.0
    return abs(float(found))
