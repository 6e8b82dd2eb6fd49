"""What the active source delivers, in canonical types and with the identity of every row."""

from __future__ import annotations

import json
from types import FunctionType

import pyarrow as pa

from ratchet.code_digest import code_digest
from ratchet.errors import SourceError
from ratchet.project import Project
from ratchet.use_case import ROW_ID, Delivery, SourceTable, use_case_module

NOTES = b"ratchet.notes"
"""Where the rows of a delivery keep what its loader noted, so that a rerun that reads nothing still reports it."""


def deliver(project: Project) -> dict[str, Delivery]:
    """`{table}/{batch}` → its delivery, for every table of the use case. Raises SourceError."""
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


def loader_code(project: Project) -> str:
    """Changes with the code that the active loader follows from.

    For a function that is its module and what that imports. A loader that a call made, such as `csv_source(...)`, also
    follows from the arguments of that call, and so from all of the use case.
    """
    loader = project.loader
    is_plain = isinstance(loader, FunctionType) and not loader.__closure__
    return code_digest(loader.__module__ if is_plain else use_case_module(project.settings.use_case))


def _defect(unit: str, problem: str) -> SourceError:
    return SourceError(problem, subject=f"delivery {unit}", remedy="Mend the use case's loader")


def read(table: SourceTable, delivery: Delivery) -> pa.Table:
    """The delivery with its row ids, in the table's stored schema, and the loader's notes as metadata. Raises SourceError."""
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
    return stored.replace_schema_metadata({NOTES: json.dumps(notes)})


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
