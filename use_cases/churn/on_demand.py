"""What follows from a request and its features, by one function in training, batch and online."""

from __future__ import annotations

import numpy as np

from ratchet.use_case.contract import Columns


def on_demand(columns: Columns) -> Columns:
    """How old the score is, and who is new."""
    age = columns["event_timestamp"] - columns["health__event_timestamp"]
    is_new = np.where(columns["tenure_months"] < 6, "yes", "no").astype(object)
    return {"score_age_days": age / np.timedelta64(1, "D"), "is_new": is_new}
