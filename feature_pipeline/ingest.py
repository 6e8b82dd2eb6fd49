"""Deliveries of the active source, as they are, in canonical types: the raw tables.

Nothing is judged here. A delivery is read again only when its digest, its table's schema or the code that reads it changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow.parquet as pq

from ratchet.code_digest import code_digest
from ratchet.deliveries import NOTES, deliver, loader_code, read
from ratchet.project import Project
from ratchet.reports import Report
from ratchet.tables import Files, digest, update
from ratchet.use_case import Delivery

CODE = code_digest(__name__)


def ingest(project: Project) -> Report:
    """Bring the raw tables up to the source's deliveries. Raises SourceError; tables that stand stay as they are."""
    found, code = deliver(project), (CODE, loader_code(project))
    wanted = {
        unit: digest(code, project.use_case.table(delivery.table).schema.to_string(), delivery.digest)
        for unit, delivery in found.items()
    }

    def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        for unit in stale:
            delivery = found[unit]
            yield unit, {unit: read(project.use_case.table(delivery.table), delivery)}

    changes = update(project.raw, wanted, compute)
    return _report(project, found, changes.rows)


def _report(project: Project, found: Mapping[str, Delivery], rows: Mapping[str, int]) -> Report:
    totals: dict[str, int] = {}
    notes: dict[str, dict[str, list[str]]] = {}
    for unit, delivery in found.items():
        totals[delivery.table] = totals.get(delivery.table, 0) + rows[unit]
        noted = json.loads(pq.read_schema(project.raw / f"{unit}.parquet").metadata[NOTES])
        if noted:
            notes.setdefault(delivery.table, {})[delivery.batch] = noted
    return {"rows": totals, "notes": notes}
