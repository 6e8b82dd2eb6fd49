"""The rows of a folder of tables, told apart."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from ratchet.use_case.contract import ROW_ID


def ids_below(*folders: Path) -> list[tuple[str, str]]:
    """Table and id of every row below the folders, in order; of one that is there twice, twice."""
    found = [(path.relative_to(folder).parts[0], path) for folder in folders for path in folder.rglob("*.parquet")]
    return sorted(
        (table, row_id)
        for table, path in found
        for row_id in pq.read_table(path, columns=[ROW_ID], partitioning=None)[ROW_ID].to_pylist()
    )
