"""The population stability index: how far the shares of a window's values are from those of the reference."""

from __future__ import annotations

import zlib

import numpy as np

from ratchet.use_case.contract import Array

DECILES = np.linspace(0.0, 1.0, 11)
FEW_VALUES = 20
COMMON_SHARE = 0.05
BUCKETS = 10
LEAST_SHARE = 1e-4


def psi(reference: Array, window: Array, *, numeric: bool) -> float:
    """Σ (w − r) · ln(w / r) over the shares of bins, none of them below LEAST_SHARE. No value may be missing.

    The index of two samples of one population grows with the number of bins, so there are few bins. Numbers with many different
    values are binned by the reference's deciles and range. Otherwise each common value is a bin; the rest share ten buckets.
    """
    by_decile = numeric and len(np.unique(reference)) > FEW_VALUES
    bins = _deciles(reference, window) if by_decile else _levels(reference, window)
    counts = [np.bincount(side, minlength=bins.max() + 1) for side in np.split(bins, [len(reference)])]
    expected, found = (np.maximum(count / count.sum(), LEAST_SHARE) for count in counts)
    return float(np.sum((found - expected) * np.log(found / expected)))


def _deciles(reference: Array, window: Array) -> Array:
    below = np.nextafter(reference.min(), -np.inf)
    edges = np.unique([below, *np.quantile(reference, DECILES[1:])])
    return np.searchsorted(edges, np.concatenate([reference, window]))


def _levels(reference: Array, window: Array) -> Array:
    """A hash of the value chooses its bucket. Choosing by frequency would make rare values of the reference look rarer."""
    levels, place = np.unique(np.concatenate([reference, window]), return_inverse=True)
    share = np.bincount(place[: len(reference)], minlength=len(levels)) / len(reference)
    is_common = share >= COMMON_SHARE
    buckets = np.array([zlib.crc32(str(level).encode()) % BUCKETS for level in levels])
    return np.where(is_common, BUCKETS + np.cumsum(is_common), buckets)[place]
