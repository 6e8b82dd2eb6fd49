"""CSV files by their bytes: the number of rows, and quotes that would make a parser read several rows as one cell.

A quote opens a cell only at the beginning of the cell; elsewhere it is a character, as in `5" disk`. Inside a quoted cell two
quotes mean one, and line ends are text. A line ends with LF, CR or both; an empty line is not a row.
"""

from __future__ import annotations

import codecs
import csv
import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.core.errors import SourceError

_QUOTED = re.compile(rb'"(?:(?<![^,\r\n]")|(?<=\A\xef\xbb\xbf"))[^"]*+(?:""[^"]*+)*+("?+)')
"""A quoted cell; its group is empty if the cell never closes."""
_ONLY_SPACES = re.compile(rb"[ \t]*+(?=[,\r\n]|\Z)")
_BLOCK = 1 << 22
_LINE_END = re.compile(rb"\r\n|\r|\n")
_NUMBER = r"^\s*[-+]?[.]?\d[-+\d.,:/TZ ]*$"
"""A number, a date or a time."""
_OTHER_FORMATS = {b"\x1f\x8b": "gzip", b"PK": "zip", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_MOST_LINES = 1000
"""How many lines of one cell are compared with rows, at most."""
Span = tuple[int, int]
"""The offset of a cell's first byte, and the offset after its last byte."""


@dataclass(frozen=True)
class Lines:
    """How many data rows a file holds, which of its cells span several lines, and which rows have a stray quote.

    A stray quote closes a cell although more text follows. `stray` maps a row's number, from 0, to the text of that line.
    """

    rows: int
    spanning: Sequence[Span]
    stray: Mapping[int, str]


def scan(path: Path) -> Lines:
    """Count the rows of a file without parsing them, in linear time and constant memory.

    Raises SourceError, with the line, if the file is not UTF-8, or if a quote never closes, or closes some lines later with
    text after it.
    """
    if not path.stat().st_size:
        return Lines(0, (), {})
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _check_encoding(path, content)
        spanning, stray = _quoted_cells(path, content)
        *rows, total = _lines_before(content, spanning, [*stray, len(content)]) - 1
        lines = {int(row): _line_around(content, quote) for row, quote in zip(rows, stray, strict=True)}
    return Lines(max(int(total), 0), spanning, lines)


def count_rows(path: Path) -> int:
    """The data rows of a file. Raises SourceError as `scan` does."""
    return scan(path).rows


def holds_rows(file: IO[bytes] | GzipFile) -> bool:
    """Whether an open file has a line after the first one. It reads no further than that line."""
    lines = 0
    while block := file.read(_BLOCK):
        lines += sum(1 for line in block.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip())
        if lines > 1:
            return True
    return False


def _check_encoding(path: Path, content: mmap.mmap) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), _BLOCK):
        pending = len(decoder.getstate()[0])
        block = content[start : start + _BLOCK]
        try:
            decoder.decode(block, final=start + _BLOCK >= len(content))
        except UnicodeDecodeError as error:
            raise _no_utf8(path, content, start - pending + error.start) from error


def _no_utf8(path: Path, content: mmap.mmap, at: int) -> SourceError:
    known = next((name for magic, name in _OTHER_FORMATS.items() if content[: len(magic)] == magic), None)
    byte = content[at : at + 1]
    other = known or f"perhaps Windows-1252 or Latin-1, where it is {byte.decode('latin-1')!r}"
    return SourceError(
        f"cannot be read as CSV (line {_line(content, at)} is not UTF-8: byte 0x{byte.hex()}; {other})",
        subject=str(path),
        remedy="Save it as UTF-8, unpacked, and deliver it again",
    )


def _quoted_cells(path: Path, content: mmap.mmap) -> tuple[list[Span], list[int]]:
    """The quoted cells that span several lines, and the offsets of one-line quoted cells with text after the closing quote."""
    spanning, stray = [], []
    for match in _QUOTED.finditer(content):
        (start, stop), cell = match.span(), match.group()
        is_spanning = b"\n" in cell or b"\r" in cell
        is_ended = content[stop : stop + 1] in (b"", b",", b"\r", b"\n")
        if not match.group(1) or (is_spanning and not is_ended):
            raise _swallows(path, content, start)
        if is_spanning:
            spanning.append((start, stop))
        elif not is_ended and not _ONLY_SPACES.match(content, stop):
            stray.append(start)
    return spanning, stray


def _swallows(path: Path, content: mmap.mmap, quote: int) -> SourceError:
    return SourceError(
        f"line {_line(content, quote)}: a quote opens a cell there and does not close properly, so that the lines after it "
        "would become part of the cell",
        subject=str(path),
        remedy="Close the quote or remove it, and deliver the file again; a quote inside a quoted cell is written twice",
    )


def _line(content: mmap.mmap, offset: int) -> int:
    """The number of the line at an offset, counted from 1 as in an editor."""
    before = content[:offset]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")


def _line_around(content: mmap.mmap, offset: int) -> str:
    """The text of the line at an offset."""
    begin, reach = -1, 1 << 12
    while begin < 0 < reach:
        start = max(0, offset - reach)
        begin = max(content.rfind(end, start, offset) for end in (b"\n", b"\r"))
        reach = 2 * reach if start else 0
    end = _LINE_END.search(content, offset)
    return content[begin + 1 : end.start() if end else len(content)].decode("utf-8").removeprefix("\ufeff")


def _lines_before(content: mmap.mmap, spanning: Sequence[Span], offsets: Sequence[int]) -> npt.NDArray[np.int64]:
    """How many non-empty lines end before each offset. A line end inside a quoted cell does not count.

    The last line ends at the end of the file.
    """
    at, counts = np.array(offsets), np.zeros(len(offsets), np.int64)
    cells = np.array(spanning, np.int64).reshape(-1, 2)
    for ends in _line_ends(content):
        cell = np.searchsorted(cells[:, 0], ends) - 1
        is_inside = (cell >= 0) & (ends < cells[cell, 1]) if len(cells) else np.zeros(len(ends), bool)
        counts += np.searchsorted(ends[~is_inside], at)
    is_open = content[-1:] not in (b"\n", b"\r")
    counts[at == len(content)] += is_open
    return counts


def _line_ends(content: mmap.mmap) -> Iterator[npt.NDArray[np.int64]]:
    """The offsets at which non-empty lines end: each CR or LF that does not follow another CR or LF."""
    begin = 3 if content[:3] == codecs.BOM_UTF8 else 0
    was_end = True
    for start in range(begin, len(content), _BLOCK):
        block = np.frombuffer(content[start : start + _BLOCK], np.uint8)
        is_end = (block == 10) | (block == 13)
        follows_end = np.concatenate([[was_end], is_end[:-1]])
        yield start + np.flatnonzero(is_end & ~follows_end)
        was_end = bool(is_end[-1])


def check_swallowed(path: Path, spanning: Sequence[Span], text: pa.Table) -> None:
    """Raises SourceError if a line inside a cell looks like a row of the file: then the cell has swallowed rows.

    `spanning` are the cells that span several lines, and `text` the parsed file. A line looks like a row if it has as many
    cells as a row, and only numbers or times in the columns that have only these. Ordinary text of several lines is therefore
    accepted in any file with such a column. In a file without one, a cell has swallowed rows if each of its lines has as many
    cells as a row, and its last line has a comma.
    """
    if not spanning:
        return
    numbers = [place for place, column in enumerate(text.columns) if _is_numeric(column)]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start, stop in spanning:
            end = _LINE_END.search(content, stop)
            cell_and_rest = content[start : end.start() if end else len(content)]
            _, *lines = re.split(_LINE_END, cell_and_rest)
            if not numbers and b"," not in re.split(_LINE_END, content[start:stop])[-1]:
                continue
            are_rows = (_is_row(line, text.num_columns, numbers) for line in lines[:_MOST_LINES] + lines[-1:] if line)
            if any(are_rows) if numbers else all(are_rows):
                raise _swallows(path, content, start)


def _is_numeric(column: pa.ChunkedArray) -> bool:
    """Whether more than 90% of its values are numbers, dates or times."""
    given = column.drop_null()
    return len(given) > 0 and pc.mean(pc.match_substring_regex(given, _NUMBER)).as_py() > 0.9


def _is_row(line: bytes, width: int, numbers: Sequence[int]) -> bool:
    if line.count(b",") < width - 1:
        return False
    cells = next(csv.reader([line.decode("utf-8")]), [])
    if len(cells) != width or not numbers:
        return len(cells) == width
    given = [cells[place] for place in numbers if cells[place].strip()]
    return bool(given) and all(re.match(_NUMBER, cell) for cell in given)
