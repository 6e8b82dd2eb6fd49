"""Lines of JSON are read whole, wherever a block ends."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from ratchet.core.errors import StoreError
from ratchet.prediction_log import json_blocks as module
from ratchet.prediction_log.json_blocks import json_blocks

SCHEMA = pa.schema({"id": pa.string(), "x": pa.float64()})
ROWS = [{"id": "ä" * (number % 7), "x": number / 2, "more": {"z": [number]}} for number in range(50)]


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 1 << 20])
def test_every_row_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """In order, without fields that nobody asked for, and without a last line that has no end."""
    monkeypatch.setattr(module, "BLOCK", size)
    path = tmp_path / "lines"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS) + '{"id": "to')
    found = [row for block in json_blocks([path], SCHEMA) for row in block.to_pylist()]
    assert [{"id": row["id"], "x": row["x"]} for row in ROWS] == found


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text('{"id": "a", "x": 1}\n{"id": \n')
    with pytest.raises(StoreError, match="lines"):
        list(json_blocks([path], SCHEMA))


def test_what_is_empty_has_no_rows(tmp_path: Path) -> None:
    (path := tmp_path / "lines").touch()
    assert [] == list(json_blocks([path], SCHEMA))
