"""The population stability index: how far the shares of a window's values are from those of the reference."""

from __future__ import annotations

import numpy as np

from ratchet.use_case import Array

LEVELS = 20
"""More bins than this would drift by chance alone: the index of two equal populations grows with bins over rows."""
DECILES = np.linspace(0.0, 1.0, 11)
LEAST_SHARE = 1e-4


def psi(reference: Array, window: Array, *, numeric: bool) -> float:
    """Σ (w − r) · ln(w / r) over the shares of bins, neither of them below LEAST_SHARE. Values may not be missing.

    Bins are the reference's commonest values and one for all others; for numbers of many values they are its deciles,
    and what lies outside its range.
    """
    values, counts = np.unique(reference, return_counts=True)
    if numeric and len(values) > LEVELS:
        edges = np.unique([np.nextafter(values[0], -np.inf), *np.quantile(reference, DECILES[1:])])
        shares = [_shares(np.searchsorted(edges, side), len(edges)) for side in (reference, window)]
    else:
        common = np.sort(values[np.argsort(-counts, kind="stable")[:LEVELS]])
        shares = [_shares(_level(common, side), len(common)) for side in (reference, window)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def _level(common: Array, values: Array) -> Array:
    """The place of each value among the common ones; one past their end for any other."""
    place = np.clip(np.searchsorted(common, values), 0, len(common) - 1)
    return np.where(common[place] == values, place, len(common))


def _shares(bins: Array, last: int) -> Array:
    return np.maximum(np.bincount(bins, minlength=last + 1) / len(bins), LEAST_SHARE)
