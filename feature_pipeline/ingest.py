"""Deliveries of the active source, as they are, in canonical types: the raw tables.

Nothing is judged here. A delivery is read again only when its digest, its table's schema or this module changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.errors import SourceError
from ratchet.project import Project
from ratchet.reports import Report
from ratchet.tables import Files, digest, md5, update
from ratchet.use_case import ROW_ID, Delivery, SourceTable

_NOTES = b"ratchet.notes"
"""Where a raw file keeps what its loader noted, so that a rerun that reads nothing still reports it."""


def ingest(project: Project) -> Report:
    """Bring the raw tables up to the source's deliveries. Raises SourceError; tables that stand stay as they are."""
    deliveries = _deliveries(project)
    code = md5(Path(__file__))
    wanted = {
        unit: digest(code, project.use_case.table(delivery.table).schema.to_string(), delivery.digest)
        for unit, delivery in deliveries.items()
    }

    def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        for unit in stale:
            delivery = deliveries[unit]
            yield unit, {unit: _read(project.use_case.table(delivery.table), delivery)}

    changes = update(project.raw, wanted, compute)
    return _report(project, deliveries, changes.rows)


def _deliveries(project: Project) -> dict[str, Delivery]:
    """`{table}/{batch}` → its delivery, for every table of the use case."""
    source, period = project.settings.source, project.period("all")
    tables = {table.name for table in project.use_case.tables}
    deliveries: dict[str, Delivery] = {}
    for delivery in project.loader(str(project.root / source.path), source.options, period):
        unit = f"{delivery.table}/{delivery.batch}"
        if delivery.table not in tables or unit in deliveries:
            raise _defect(unit, "is delivered twice" if unit in deliveries else "is of no table of the use case")
        deliveries[unit] = delivery
    missing = tables - {delivery.table for delivery in deliveries.values()}
    if missing:
        raise SourceError(
            f"delivers nothing of {', '.join(sorted(missing))} in {period}",
            subject=f"source {source.name!r} at {source.path}",
            remedy="Set source.path and periods in params.yaml to where and when there is data",
        )
    return deliveries


def _defect(unit: str, problem: str) -> SourceError:
    return SourceError(problem, subject=f"delivery {unit}", remedy="Mend the use case's loader")


def _read(table: SourceTable, delivery: Delivery) -> pa.Table:
    """The delivery with its row ids, in the table's stored schema, and the loader's notes as metadata."""
    rows, notes = delivery.read()
    _check_schema(table, delivery, rows.schema)
    if not rows.num_rows:
        raise SourceError(
            "holds no row",
            subject=f"delivery {table.name}/{delivery.batch}",
            remedy="Deliver it again, or shorten `periods` in params.yaml to leave it out",
        )
    row_ids = pa.array([f"{delivery.batch}:{row:08d}" for row in range(rows.num_rows)], pa.string())
    stored = rows.select(table.schema.names).add_column(0, table.stored_schema.field(ROW_ID), row_ids)
    return stored.replace_schema_metadata({_NOTES: json.dumps(notes)})


def _check_schema(table: SourceTable, delivery: Delivery, found: pa.Schema) -> None:
    expected = {field.name: str(field.type) for field in table.schema}
    delivered = {field.name: str(field.type) for field in found}
    problems = [
        *(f"lacks column {name!r}" for name in expected if name not in delivered),
        *(f"has unknown column {name!r}" for name in delivered if name not in expected),
        *(
            f"has {name!r} as {delivered[name]} instead of {kind}"
            for name, kind in expected.items()
            if delivered.get(name, kind) != kind
        ),
    ]
    if problems:
        raise SourceError(
            "; ".join(problems),
            subject=f"delivery {table.name}/{delivery.batch}",
            remedy="Deliver it with its columns, or teach the use case's loader what changed",
        )


def _report(project: Project, deliveries: Mapping[str, Delivery], rows: Mapping[str, int]) -> Report:
    totals: dict[str, int] = {}
    notes: dict[str, dict[str, list[str]]] = {}
    for unit, delivery in deliveries.items():
        totals[delivery.table] = totals.get(delivery.table, 0) + rows[unit]
        noted = json.loads(pq.read_schema(project.raw / f"{unit}.parquet").metadata[_NOTES])
        if noted:
            notes.setdefault(delivery.table, {})[delivery.batch] = noted
    return {"rows": totals, "notes": notes}
