"""Rules judged without a step."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from feature_pipeline.expectations import EVERY_ROW, failing, judge
from ratchet.use_case.contract import Rule


def failing_rows(rules: Mapping[str, Rule], rows: pa.Table, batch: str) -> dict[str, list[str]]:
    """Reason → ids of the rows of a batch that break its rule."""
    return failing(judge(rules, rows, batch, EVERY_ROW))
