"""Accepted rows without ingest and validate, with the instants from which they may be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from ratchet.use_case.arrival import Delivery, accepted_rows
from ratchet.use_case.contract import SourceTable

EVERY_MINUTE, HOURLY = "* * * * *", "0 * * * *"
AT_ONCE = Delivery(timedelta(0), EVERY_MINUTE)


def arrived(table: SourceTable, rows: Sequence[Mapping[str, Any]], delivery: Delivery = AT_ONCE) -> pa.Table:
    """The rows in the table's accepted schema. The late columns may say when one came; missing columns are null."""
    return accepted_rows(table, pa.Table.from_pylist([*rows], table.delivered_schema), delivery)
