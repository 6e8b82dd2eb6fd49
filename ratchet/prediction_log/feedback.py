"""What callers reported about predictions: the outcome of each, beside the online half of the prediction log.

A line lies under the date of its prediction, so that it is dropped with it. Nothing is replaced: if several outcomes of a
prediction were reported, the one that was received last counts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa

from ratchet.prediction_log import side_lines
from ratchet.prediction_log.side_lines import Row
from ratchet.use_case.contract import INSTANT

FEEDBACK = pa.schema(
    {
        "prediction_id": pa.string(),
        "outcome": pa.float64(),
        "observed_at": INSTANT,
        "received_at": INSTANT,
        "caller": pa.string(),
    }
)
"""`observed_at` is when the outcome was seen, as the caller says it; if it does not, when it was received."""
_SUFFIX = ".feedback"


@dataclass(frozen=True)
class FeedbackLog:
    """Writes and reads feedback in the folder of the online log. Each process appends to files of its own."""

    folder: Path
    _process: str = field(default_factory=lambda: uuid.uuid4().hex)

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows of FEEDBACK. Raises StoreUnavailableError; then those of a date are written as a whole, or not at all."""
        side_lines.append(self.folder, f"{self._process}{_SUFFIX}", rows)

    def size(self) -> int:
        """The bytes of all feedback, which grow with each report."""
        return sum(path.stat().st_size for path in self.folder.glob(f"*/*{_SUFFIX}"))

    def read(self, dates: Iterable[date]) -> pa.Table:
        """The feedback on predictions of these UTC dates: for each prediction the one that was received last."""
        rows = side_lines.read(self.folder, _SUFFIX, dates)
        last = {row["prediction_id"]: row for row in sorted(rows, key=lambda row: str(row["received_at"]))}
        return _table([last[name] for name in sorted(last)])


def _table(rows: Sequence[Row]) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in FEEDBACK.names}
    return pa.table({name: pa.array(values) for name, values in columns.items()}).cast(FEEDBACK)
