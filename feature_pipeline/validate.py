"""Split the raw rows into accepted and quarantined rows: every row is in exactly one of the two.

Quarantine is written first and the accepted rows follow from it, so that a killed run loses no row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_pipeline.accepted_files import accepted_files
from feature_pipeline.batch_records import batch_findings, read_records
from feature_pipeline.data_docs import write_index
from feature_pipeline.quarantine import DUPLICATE_KEY, Quarantine, leave_out, read_rows
from feature_pipeline.readmissions import effective, read_readmissions, write_readmissions
from feature_pipeline.seen_rows import as_seen
from ratchet.code.code_digest import code_digest
from ratchet.core.errors import DataError
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.sources import unreadable
from ratchet.sources.asked import require_asked
from ratchet.sources.batches import delivered_rows, seen_at
from ratchet.storage.digests import digest
from ratchet.storage.partitions import Files, files, read_manifest, unit_digests, update
from ratchet.use_case.contract import ROW_ID

CODE = code_digest(__name__)
_KINDS = ("raw", "accepted", "quarantined", "duplicates")


def validate(run: Run) -> Report:
    """Bring the quarantined and accepted tables up to date with the raw tables.

    Raises StoreError if the raw tables are as of another instant, and DataError if a rule cannot be judged or a row was lost.
    """
    require_asked(run)
    raw, readmissions = unit_digests(run.paths.raw), read_readmissions(run.paths.readmissions)
    write_readmissions(run.paths.readmissions, readmissions)  # an output of the stage, also if it holds none
    decided = effective(readmissions, raw)
    judges = {table.name: Quarantine(run, table, decided) for table in run.use_case.tables}
    to_come = {unit: _to_come(run, unit) for unit in raw}
    inputs = {
        unit: digest(content, [each.effect for each in decided.get(unit, ())], to_come[unit])
        for unit, content in raw.items()
    }
    wanted = _chained(inputs, {name: digest(CODE, judge.digest) for name, judge in judges.items()})
    update(run.paths.quarantine, wanted, lambda stale: _rejected(judges, list(raw), stale))
    rejected = unit_digests(run.paths.quarantine)
    deliveries = {name: [asdict(run.delivery(name)), str(run.use_case.delay(name))] for name in judges}
    wanted = {unit: digest(CODE, raw[unit], rejected[unit], to_come[unit], deliveries[_split(unit)[0]]) for unit in raw}
    update(run.paths.accepted, wanted, lambda stale: ((unit, _accepted(run, unit)) for unit in stale))
    records = read_records(run)
    write_index(
        run.paths.data_docs,
        records,
        {unit: entry["rows"] for unit, entry in read_manifest(run.paths.quarantine).items()},
    )
    return {**_report(run), **batch_findings(records, run.as_of("feature"))}


def _to_come(run: Run, unit: str) -> list[datetime]:
    """When something of a batch comes that is not there yet."""
    return [at for at in seen_at(run.paths.raw / f"{unit}.parquet") if at > run.as_of("feature")]


def _chained(contents: Mapping[str, str], first: Mapping[str, str]) -> dict[str, str]:
    """Unit → digest of its batch and of every earlier batch of its table, with which it is compared: of two rows with one key,
    the earlier is accepted."""
    chain, inputs = dict(first), {}
    for unit, content in contents.items():
        table, _ = _split(unit)
        inputs[unit] = chain[table] = digest(chain[table], content)
    return inputs


def _split(unit: str) -> tuple[str, str]:
    """The table and the batch of a unit."""
    table, _, batch = unit.partition("/")
    return table, batch


def _rejected(
    judges: Mapping[str, Quarantine], units: Sequence[str], stale: Sequence[str]
) -> Iterator[tuple[str, Files]]:
    """Checks the stale batches in order, so that the quarantine of all earlier batches is complete when it is needed."""
    earlier: dict[str, list[str]] = {table: [] for table in judges}
    wanted = set(stale)
    for unit in units:
        table, batch = _split(unit)
        if unit in wanted:
            yield unit, {unit: judges[table].rejected(batch, earlier[table])}
        earlier[table].append(batch)


def _accepted(run: Run, unit: str) -> Files:
    """The rows of a batch that are not in quarantine."""
    name, batch = _split(unit)
    table = run.use_case.table(name)
    quarantined = pq.read_table(run.paths.quarantine / f"{unit}.parquet", columns=[ROW_ID], partitioning=None)
    raw = as_seen(table, read_rows(run.paths.raw / f"{unit}.parquet"), run.as_of("feature"))
    sound = leave_out(unreadable.readable(raw), quarantined[ROW_ID].to_pylist())
    return accepted_files(table, batch, sound, run.delivery(name), run.use_case.delay(name))


def _report(run: Run) -> Report:
    """Rows by table and by reason. Raises DataError if a delivered row is in neither table, or in both."""
    reasons = {table.name: _reasons(run, table.name) for table in run.use_case.tables}
    tables = {name: _counts(run, name, found[DUPLICATE_KEY]) for name, found in reasons.items()}
    rows = {kind: sum(counts[kind] for counts in tables.values()) for kind in _KINDS}
    return {"rows": rows, "tables": tables, "reasons": dict(sum(reasons.values(), Counter()))}


def _reasons(run: Run, table: str) -> Counter[str]:
    columns = (
        pq.read_table(path, columns=["reasons"], partitioning=None)["reasons"]
        for path in files(run.paths.quarantine / table)
    )
    return Counter(reason for column in columns for reason in pc.list_flatten(column).to_pylist())


def _counts(run: Run, table: str, duplicates: int) -> dict[str, int]:
    raw, accepted, rejected = (
        sum(entry["rows"] for unit, entry in read_manifest(folder).items() if _split(unit)[0] == table)
        for folder in (run.paths.raw, run.paths.accepted, run.paths.quarantine)
    )
    delivered = sum(
        delivered_rows(run.paths.raw / f"{unit}.parquet")
        for unit in read_manifest(run.paths.raw)
        if _split(unit)[0] == table
    )
    if delivered != raw:
        raise DataError(
            f"{delivered} delivered rows became {raw} raw rows",
            subject=f"table {table}",
            remedy="Run `ratchet stage ingest` again. If this happens again, report it",
        )
    if raw != accepted + rejected:
        raise DataError(
            f"{raw} raw rows became {accepted} accepted and {rejected} quarantined ones",
            subject=f"table {table}",
            remedy="This is a defect of Ratchet: report it",
        )
    return dict(zip(_KINDS, (raw, accepted, rejected - duplicates, duplicates), strict=True))
