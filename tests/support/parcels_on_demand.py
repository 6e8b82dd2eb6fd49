"""What the third use case makes of a request and its features."""

from __future__ import annotations

import numpy as np

from ratchet.use_case.contract import Columns


def on_demand(columns: Columns) -> Columns:
    """Whether a parcel is handed in before six o'clock UTC."""
    return {"night": (columns["event_timestamp"].astype("datetime64[h]").astype(np.int64) % 24 < 6).astype(np.float64)}
