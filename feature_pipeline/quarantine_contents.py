"""What is in quarantine: for each batch, its rows by reason and what was found of the whole batch; and the rows themselves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_pipeline.batch_records import read_record
from feature_pipeline.quarantine import read_rows
from feature_pipeline.readmissions import Readmission, effective, read_readmissions
from ratchet.core.errors import DataError
from ratchet.core.text import did_you_mean
from ratchet.project.run import Run
from ratchet.storage.partitions import read_manifest, unit_digests
from ratchet.use_case.columns import EARLY_LATE_AT, KNOWN_SEEN_AT, LATE_AT, SEEN_AT
from ratchet.use_case.contract import ROW_ID, UNREADABLE

Contents = dict[str, Any]


def quarantine_contents(run: Run, table: str | None = None) -> dict[str, Contents]:
    """`TABLE/BATCH` → its rows, reasons, findings and readmissions, for each batch that has any of them.

    Raises StoreError if nothing was validated yet, DataError if there is no such table.
    """
    if table is not None:
        _require_table(run, table)
    raw, end = read_manifest(run.paths.raw), run.as_of("feature")
    all_readmissions = read_readmissions(run.paths.readmissions)
    valid = effective(all_readmissions, unit_digests(run.paths.raw))
    found = {}
    for unit in unit_digests(run.paths.quarantine):
        if table not in (None, unit.partition("/")[0]):
            continue
        record = read_record(run.paths.quarantine / f"{unit}.parquet")
        contents = {
            "rows": raw[unit]["rows"] if unit in raw else 0,
            "reasons": dict(Counter(reason for each in _reasons(run, unit) for reason in each).most_common()),
            "refused": record.is_refused,
            "overruled": record.overruled,
            "findings": [each.model_dump() for each in record.known_by(end)],
            "readmissions": [
                {**_shown(each), "counts": each.kind in {"replay", "withdrawal"} or each in valid.get(unit, ())}
                for each in all_readmissions
                if each.batch == unit
            ],
        }
        if contents["reasons"] or contents["findings"] or contents["readmissions"]:
            found[unit] = contents
    return found


def _require_table(run: Run, table: str) -> None:
    known = [each.name for each in run.use_case.tables]
    if table not in known:
        raise DataError(
            f"there is no such table{did_you_mean(table, known)}",
            subject=f"table {table!r}",
            remedy=f"Name one of {', '.join(known)}",
        )


def _shown(readmission: Readmission) -> dict[str, Any]:
    return readmission.model_dump(mode="json", exclude={"batch", "content"})


def quarantined_rows(run: Run, unit: str, reason: str | None = None) -> list[dict[str, Any]]:
    """The quarantined rows of a batch in delivered order: `row`, which names it to `ratchet quarantine readmit`, its `reasons`,
    and the `values` as they were delivered.

    Raises DataError if there is no such batch, or no row with that reason.
    """
    rows = read_rows(run.paths.quarantine / f"{known_unit(run, unit)}.parquet")
    reasons = rows["reasons"].to_pylist()
    if reason is not None:
        known = {one for each in reasons for one in each}
        if reason not in known:
            raise DataError(
                f"has no row with the reason {reason!r}{did_you_mean(reason, known)}",
                subject=unit,
                remedy="`ratchet quarantine list` shows its reasons",
            )
        rows = rows.filter(pa.array([reason in each for each in reasons]))
    table = unit.partition("/")[0]
    return [_row(table, each) for each in rows.to_pylist()]


def _row(table: str, row: dict[str, Any]) -> dict[str, Any]:
    texts = dict(row.pop(UNREADABLE.name) or ())
    name, reasons, first = f"{table}/{row.pop(ROW_ID)}", row.pop("reasons"), row.pop(SEEN_AT)
    came = {"came": first.isoformat()} if first else {}
    for column in (LATE_AT, EARLY_LATE_AT, KNOWN_SEEN_AT):
        row.pop(column, None)
    return {"row": name, "reasons": reasons, **came, "values": {**row, **texts}}


def known_unit(run: Run, unit: str) -> str:
    """The unit, if it was validated. Raises DataError."""
    known = unit_digests(run.paths.quarantine)
    if unit not in known:
        raise DataError(
            f"there is no such batch{did_you_mean(unit, known)}",
            subject=unit,
            remedy="Name it as TABLE/BATCH, as `ratchet quarantine list` does",
        )
    return unit


def _reasons(run: Run, unit: str) -> list[list[str]]:
    rows = read_rows(run.paths.quarantine / f"{unit}.parquet")
    reasons: list[list[str]] = pc.cast(rows["reasons"], pa.list_(pa.string())).to_pylist()
    return reasons
