"""The newest state of something, for views that are written by hand: a customer's last score, or yesterday's weather."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import ibis

from ratchet.use_case.columns import AVAILABLE_AT


def newest(rows: ibis.Table, keys: Sequence[str], event_time: str, *, within: timedelta) -> ibis.Table:
    """The rows of an accepted table that were the newest of their key when they became available: one for a key at a time.

    Of several that become available at once, such as the days of a week that were delivered together, the one with the latest
    `event_time` counts. A row does not count if a newer one became available in the time `within` before it. The view's
    lookback must reach the rows of that time, or the result would depend on which days are computed together.
    """
    available = rows.filter(rows[AVAILABLE_AT].notnull())
    seconds = ibis.interval(seconds=int(within.total_seconds()))
    lately = ibis.range_window(group_by=keys, order_by=AVAILABLE_AT, preceding=seconds, following=0)
    return available.filter(available[event_time] == available[event_time].max().over(lately))
