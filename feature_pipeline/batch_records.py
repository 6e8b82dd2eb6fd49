"""What is kept of a batch as a whole, in the metadata of the file with its quarantined rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipeline.batch_checks import Finding
from feature_pipeline.batch_statistics import Statistics
from ratchet.core.frozen import Frozen
from ratchet.project.run import Run
from ratchet.storage.partitions import read_manifest

_RECORD = b"ratchet.batch"
_NEAR = 0.05
"""A batch ends where the data end if not more than this share of its days is missing before that, or one day."""


class BatchRecord(Frozen):
    """The statistics of the rows of a batch that break no rule, and the checks that the batch did not pass.

    If `is_refused`, all of its rows are in quarantine for that. `overruled` is why a person readmitted it all the same.
    """

    statistics: Statistics
    findings: tuple[Finding, ...] = ()
    is_refused: bool = False
    overruled: str | None = None

    def known_by(self, end: datetime) -> Sequence[Finding]:
        """The findings. If the data end at `end` and the batch may still go on, without those that say that it is short: of too
        few days or, within a day, of too few rows."""
        times = self.statistics.times
        short = ("days", "volume") if times and times.days <= 1 else ("days",)
        return [each for each in self.findings if each.check not in short or not self._ends_at(end)]

    def _ends_at(self, end: datetime) -> bool:
        times = self.statistics.times
        return times is not None and times.until <= end <= times.until + max(1, _NEAR * times.days) * timedelta(days=1)


def with_record(rows: pa.Table, record: BatchRecord) -> pa.Table:
    """The quarantined rows of a batch, to be written with its record."""
    return rows.replace_schema_metadata({_RECORD: record.model_dump_json()})


def read_record(path: Path) -> BatchRecord:
    """The record of a batch, from the file with its quarantined rows."""
    return BatchRecord.model_validate_json(pq.read_schema(path).metadata[_RECORD])


def read_records(run: Run) -> dict[str, BatchRecord]:
    """Unit → the record of every batch that was validated."""
    folder = run.paths.quarantine
    return {unit: read_record(folder / f"{unit}.parquet") for unit in read_manifest(folder)}


def batch_findings(records: Mapping[str, BatchRecord], end: datetime) -> dict[str, dict[str, Any]]:
    """The refused batches and those that are warned of, with what was found; and the readmitted ones, with the reason.

    A refused batch is listed with all that was found, and not again as one that is warned of. The data end at `end`.
    """
    found = {unit: [_shown(finding) for finding in record.known_by(end)] for unit, record in records.items()}
    return {
        "refused": {unit: found[unit] for unit, record in records.items() if record.is_refused},
        "warned": {unit: found[unit] for unit, record in records.items() if found[unit] and not record.is_refused},
        "overruled": {unit: record.overruled for unit, record in records.items() if record.overruled},
    }


def _shown(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "detail": finding.detail}
