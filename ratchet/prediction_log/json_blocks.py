"""Lines of JSON as tables, a block at a time, so that a large file needs no more memory than a small one."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj

from ratchet.prediction_log.online_log import unreadable

BLOCK = 64 << 20
"""Bytes that are read at a time."""


def json_blocks(paths: Iterable[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of files in the columns of `schema`; other fields are left out. An incomplete last line, which a killed process
    left, is left out, too. Raises StoreError for a line that is damaged."""
    for path in paths:
        for lines in _whole_lines(path):
            try:
                yield _parsed(lines, schema)
            except pa.ArrowInvalid as error:
                raise unreadable(path, error, "Fix or remove the line; later lines are complete") from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        rest = b""
        while read := file.read(BLOCK):
            lines = rest + read
            end = lines.rfind(b"\n") + 1
            rest = lines[end:]
            if end:
                yield lines[:end]


def _parsed(lines: bytes, schema: pa.Schema) -> pa.Table:
    longest = max(map(len, lines.splitlines(keepends=True)))
    options = pj.ReadOptions(block_size=max(pj.ReadOptions().block_size, longest))
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    return pj.read_json(io.BytesIO(lines), options, parse)
