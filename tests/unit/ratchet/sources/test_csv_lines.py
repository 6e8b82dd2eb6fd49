"""The rows of a CSV file by its bytes: as many as a parser finds, and no quote that would hide some."""

from __future__ import annotations

import csv
import io
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.core.errors import SourceError
from ratchet.sources import csv_lines
from ratchet.sources.csv_lines import count_rows, holds_rows, scan
from ratchet.sources.csv_parsing import read_rows, read_text

CELL = st.text(string.ascii_letters + " ,'\"\n\r", max_size=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.csv"


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


class TestCount:
    @pytest.mark.parametrize(
        ("text", "rows"),
        [
            ("", 0),
            ("a,b", 0),
            ("a,b\n", 0),
            ("a,b\n1,2", 1),
            ("a,b\n1,2\n", 1),
            ("a,b\r\n1,2\r\n\r\n3,4\r\n", 2),
            ("a,b\r1,2\r3,4\r", 2),
            ("\n\na,b\n\n1,2\n\n\n3,4\n\n", 2),
            ('a,b\n1,"x\ny\n\nz"\n2,"\r\n"\n', 2),
            ('a,b\n1,"x""\n""y"\n2,""\n', 2),
            ('\ufeff"a\nb",c\n1,2\n', 1),
            ('a,b\n1,5" disk\n2,3" disk\n', 2),
            ("a,b\n1\n1,2,3\n", 2),
            ("a,b\n1,\0\n\0\n", 2),
        ],
    )
    def test_is_of_lines_outside_quotes(self, text: str, rows: int, path: Path) -> None:
        """Without the header and without empty lines, whatever ends a line."""
        assert rows == count_rows(written(path, text))

    @given(st.lists(st.tuples(st.integers(0, 9), CELL, CELL), min_size=1), st.sampled_from(["\n", "\r\n"]))
    def test_is_what_parsers_find(self, rows: list[tuple[int, str, str]], end: str) -> None:
        """The count agrees with Arrow and with Python on any quoted file."""
        text = io.StringIO()
        csv.writer(text, lineterminator=end, quoting=csv.QUOTE_NONNUMERIC).writerows([("a", "b", "c"), *rows])
        with tempfile.TemporaryDirectory() as folder:
            file = written(Path(folder) / "file.csv", text.getvalue())
            assert len(rows) == count_rows(file)
            assert len(rows) == len([*csv.reader(io.StringIO(text.getvalue(), newline=""))]) - 1

    @pytest.mark.parametrize("block", [1, 2, 3, 7])
    def test_does_not_depend_on_blocks(self, block: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A block may end anywhere: between CR and LF, in a quoted cell, in a character of two bytes."""
        monkeypatch.setattr(csv_lines, "_BLOCK", block)
        assert 3 == count_rows(written(path, 'a,b\r\n1,"ö\r\n\r\nü"\r\n\r\n2,é\r\n3,x'))
        with path.open("rb") as file:
            assert holds_rows(file)

    def test_says_which_cells_and_rows_are_odd(self, path: Path) -> None:
        """Cells of several lines by their bytes, rows with text after a closing quote by their number, with their line."""
        lines = scan(written(path, 'a,b\n1,"x\ny"\n2,"5" disk"\n3,"z"  \n'))
        assert ([(6, 11)], {1: '2,"5" disk"'}) == (lines.spanning, lines.stray)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("before", ["", "x" * 9000])
    def test_shows_a_line_with_a_stray_quote_as_it_is(self, path: Path, end: str, before: str) -> None:
        """With all of its quotes, whatever ends lines, however long it is, and without a last line end."""
        odd = f'{before},"left at "door" x'
        lines = scan(written(path, end.join(["a,b", "1,x", odd, "2,y", odd])))
        assert {1: odd, 3: odd} == lines.stray


class TestQuotes:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ('a,b\n1,"x\n2,y\n3,z\n', 2),
            ('a,b\r\n1,x\r\n2,"y\r\n3,z', 3),
            ('a,b\r1,x\r2,"y', 3),
            ('"a,b\n1,x\n', 1),
            ('a,b\n1,x\n2,"y\n3,"z"\n4,z\n', 3),
            ('a,b\n1,"left at door\n2,x\n3,"left at door\n', 2),
            ('a,b\n1,"x\n2,a 5" disk\n3,z\n', 2),
            ('a,b\n1,"x\n2,y"\n3,z\n', 2),
            ('a,b\n1,"x\n2,3.5 inch 5"\n3,z\n', 2),
            ('a,b,c\n1,"x,2024-01-01\n2,"",2024-01-02\n3,"z",2024-01-03\n', 2),
            ('a,b,c\n1,2024-01-01,x\n2,2024-01-02,"x\n3,2024-01-03,y\n4,2024-01-04,"\n', 3),
            ('a,b\n1,"good\ntext"\n2,"x\n3,y\n', 4),
        ],
    )
    def test_that_would_swallow_rows_are_refused(self, text: str, line: int, path: Path) -> None:
        """The error names the file and the line where the quote opens, whether or not another one closes it."""
        with pytest.raises(SourceError, match=rf"file\.csv: line {line}: a quote"):
            read_text(written(path, text))

    @pytest.mark.parametrize(
        "cell",
        ['"x\ny"', '"Dear Bob,\nbye, Ann"', '"1\n2\n3"', '"\n"', '5" disk', '"5"" disk"', '"a, ""b"",\nc"', '"x\r\ny"'],
    )
    def test_of_text_are_text(self, cell: str, path: Path) -> None:
        """Text of several lines and marks of inches stay what they are."""
        table = read_text(written(path, f"a,b,c\n1,{cell},2\n3,z,4\n"))
        assert [("1", "2"), ("3", "4")] == [(row["a"], row["c"]) for row in table.to_pylist()]
        assert [next(csv.reader(io.StringIO(cell, newline="")))[0], "z"] == table["b"].to_pylist()

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_that_would_swallow_rows_of_text_are_refused(self, end: str, path: Path) -> None:
        """Also where no column of numbers tells rows from prose, and however the lines end."""
        text = end.join(["a,b,c", "q,w,e", 'x,y,"left', "x,y,z", "", 'x,y,"', "q,w,e", ""])
        with pytest.raises(SourceError, match="line 3"):
            read_text(written(path, text))

    @pytest.mark.parametrize("row", ['"one\ntwo",y,z', 'x,"one, two\nthree",z', 'x,y,"a, b, c\nd, e"', 'x,y,"\n"'])
    def test_of_text_are_text_in_a_file_of_text(self, row: str, path: Path) -> None:
        """Prose of several lines is taken where its lines are no rows, in whatever column it stands."""
        assert read_text(written(path, f"a,b,c\n{row}\nq,w,e\n")).num_rows == 2

    def test_that_would_swallow_rows_of_one_column_are_refused(self, path: Path) -> None:
        """A file of one column of numbers has rows without any comma."""
        with pytest.raises(SourceError, match="line 3"):
            read_text(written(path, 'a\n1\n"2\n3\n4"\n' + "5\n" * 20))

    def test_that_go_on_after_they_closed_break_their_row_alone(self, path: Path) -> None:
        """A quote that is not doubled within one line costs that row, and is told with its place."""
        text = read_rows(written(path, 'a,b\n1,x\n2,"say "hi" now"\n3,y\n'))
        assert (["1", None, "3"], [1]) == (text.rows["a"].to_pylist(), [*text.broken])
        with pytest.raises(SourceError, match="row 2 after the header"):
            read_text(path)
