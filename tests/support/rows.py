"""The rows of raw, accepted and quarantined tables, told apart by their place in what was delivered."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from ratchet.sources.unreadable import readable
from ratchet.use_case.contract import ROW_ID, ROW_KEY, SourceTable
from ratchet.use_case.row_key import keyed

Place = tuple[str, str]
"""Table, and ROW_ID."""


def raw_places(folder: Path) -> list[Place]:
    """The place of every raw or quarantined row below the folder, in order; of one that is there twice, twice."""
    found = [(path.relative_to(folder).parts[0], path) for path in folder.rglob("*.parquet")]
    return sorted(
        (table, row_id)
        for table, path in found
        for row_id in pq.read_table(path, columns=[ROW_ID], partitioning=None)[ROW_ID].to_pylist()
    )


def accepted_places(data: Path, tables: Iterable[SourceTable]) -> list[Place]:
    """The place of every accepted row, in order. Raises KeyError for one that was never delivered, or is in quarantine."""
    return sorted((table.name, place) for table in tables for place in accepted_of(data, table))


def accepted_of(data: Path, table: SourceTable) -> list[str]:
    """The place of every accepted row of a table, in the order of its files."""
    found = places(data, table)
    files = sorted((data / "accepted" / table.name).rglob("*.parquet"), key=lambda path: (path.name, str(path)))
    keys = (pq.read_table(path, columns=[ROW_KEY], partitioning=None)[ROW_KEY].to_pylist() for path in files)
    return [found[key] for of_file in keys for key in of_file]


def places(data: Path, table: SourceTable) -> dict[str, str]:
    """Key → the place of the raw row that has it and is not in quarantine."""
    rejected = {place for name, place in raw_places(data / "quarantine") if name == table.name}
    found: dict[str, str] = {}
    for path in (data / "raw" / table.name).rglob("*.parquet"):
        rows = readable(pq.read_table(path, partitioning=None).replace_schema_metadata(None))
        kept = rows.filter([place not in rejected for place in rows[ROW_ID].to_pylist()])
        found |= dict(zip(keyed(table, kept)[ROW_KEY].to_pylist(), kept[ROW_ID].to_pylist(), strict=True))
    return found
