"""The SQL of the point-in-time join: what it reads."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ratchet.feature_store.point_in_time_join import between
from ratchet.storage.duckdb import Query
from ratchet.storage.partitions import write_table


@pytest.mark.parametrize("name", ["view[1]", "view*", "vie?1", "it's", "a b", "k=v", "ü%20#"])
def test_folders_of_any_name_are_read_as_themselves(name: str, tmp_path: Path) -> None:
    """A checkout may lie in a folder whose name DuckDB would take for a pattern of others."""
    for row, folder in enumerate((name, "view1", "viewx")):
        write_table(tmp_path / folder / "static" / "part.parquet", pa.table({"row": [row]}))
    assert [0] == Query(between(tmp_path / name, ["row"], None, None)).run(1, "1GB")["row"].to_pylist()
