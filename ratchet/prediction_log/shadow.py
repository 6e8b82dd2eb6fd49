"""What a challenger in the shadow predicted for requests that the champion answered. Nobody got these predictions.

A line names the champion's prediction, whose line in the log has the request and the features: they are the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa

from ratchet.prediction_log import side_lines
from ratchet.prediction_log.json_blocks import json_blocks
from ratchet.prediction_log.side_lines import Row
from ratchet.use_case.contract import INSTANT

SHADOW = pa.schema(
    {
        "prediction_id": pa.string(),
        "time": INSTANT,
        "model_version": pa.int64(),
        "model_digest": pa.string(),
        "prediction": pa.float64(),
        "answered": pa.float64(),
        "failure": pa.string(),
    }
)
"""`prediction` is null if the challenger failed, and `failure` says how. `answered` is what the champion predicted."""
_SUFFIX = ".shadow"


@dataclass(frozen=True)
class ShadowLog:
    """Writes and reads what challengers predicted, in the folder of the online log. Each process has files of its own."""

    folder: Path
    _process: str = field(default_factory=lambda: uuid.uuid4().hex)

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows of SHADOW. Raises StoreUnavailableError."""
        side_lines.append(self.folder, f"{self._process}{_SUFFIX}", rows)

    def read(self, dates: Iterable[date]) -> Iterator[pa.Table]:
        """What was predicted in the shadow of predictions of these UTC dates, a block at a time."""
        return json_blocks(side_lines.files(self.folder, _SUFFIX, dates), SHADOW)
