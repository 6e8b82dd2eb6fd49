"""Columns computed from a request and its features. Training, batch and online use the same function."""

from __future__ import annotations

import numpy as np

from ratchet.use_case.contract import Columns


def on_demand(columns: Columns) -> Columns:
    """The age of the score, and whether the customer is new."""
    age = columns["event_timestamp"] - columns["health__event_timestamp"]
    is_new = np.where(columns["tenure_months"] < 6, "yes", "no").astype(object)
    return {"score_age_days": age / np.timedelta64(1, "D"), "is_new": is_new}
