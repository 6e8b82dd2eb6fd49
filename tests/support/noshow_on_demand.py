"""What the second use case makes of a request and its features; no other module of it may be imported here."""

from __future__ import annotations

import numpy as np

from ratchet.core.clock import local_time
from ratchet.use_case.contract import Columns

TIMEZONE = "Australia/Adelaide"


def on_demand(columns: Columns) -> Columns:
    local = local_time(columns["event_timestamp"], TIMEZONE)
    return {"hour": (local - local.astype("datetime64[D]")).astype("timedelta64[h]").astype(np.float64)}
