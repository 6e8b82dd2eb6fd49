"""Golden rows: inputs with which two forms of one model are compared bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.storage.arrow import to_columns
from ratchet.use_case.contract import Array, Kind

REFERENCE_ROWS = 200
UNUSUAL_ROWS = 120
NUMBERS = (float("nan"), 0.0, -0.0, 1.0, -1.0, 5e-324, 1e300, -1e300, float("inf"), float("-inf"), 0.1)
"""Values that a number may take in an unusual row. Their count is prime to the steps below, so that columns mix."""


def golden_rows(reference: pa.Table, inputs: Mapping[str, Kind]) -> dict[str, Array]:
    """The model's inputs for up to REFERENCE_ROWS rows of its reference table, spread over it, and UNUSUAL_ROWS unusual ones.

    In unusual rows numbers are missing, tiny, huge or infinite, and categories are missing or were never seen.
    """
    step = max(1, reference.num_rows // REFERENCE_ROWS)
    usual = to_columns(reference.select([*inputs]).take(list(range(0, reference.num_rows, step))[:REFERENCE_ROWS]))
    return {
        name: np.concatenate([usual[name], _unusual(usual[name], kind, place)])
        for place, (name, kind) in enumerate(inputs.items())
    }


def _unusual(column: Array, kind: Kind, place: int) -> Array:
    """A column of unusual values. `place` shifts it against the others."""
    values: list[Any] = list(NUMBERS) if kind == "number" else _categories(column)
    ordered = islice(cycle(values), place * (place + 1) // 2, None, 1 + place % 3)
    return np.array(list(islice(ordered, UNUSUAL_ROWS)), column.dtype)


def _categories(column: Array) -> list[Any]:
    """A missing category, one that was never seen, and some that were."""
    seen = [value for value in column[:3].tolist() if value is not None and value == value]
    return [None, "\x00 never seen" if column.dtype == object else -987654321.0, *seen]
