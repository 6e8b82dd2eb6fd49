"""CSV files as batches: what they hold, or an error that says which file, column, row and value."""

from __future__ import annotations

import gzip
import os
import string
import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError, SourceError
from ratchet.sources.batches import read as read_batch
from ratchet.sources.csv_parsing import identifier
from ratchet.sources.file_source import file_source
from ratchet.use_case.batch import Batch, Unread
from ratchet.use_case.contract import INSTANT, ROW_ID, SourceTable
from tests.support import feed
from tests.support.messages import missing

JULY = Period.between(date(2024, 7, 1), date(2024, 8, 1), "Europe/Berlin")
SCHEMA = pa.schema({"id": pa.int64(), "amount": pa.float64(), "paid": pa.bool_(), "who": pa.string(), "at": INSTANT})
ROW = "id,amount,paid,who,at\n1,2.5,true,ann,2024-07-01 12:00\n"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PRINTABLE = st.text(string.ascii_letters + string.digits + " ,;'\"\n", min_size=1)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.none() | st.integers(-(2**63), 2**63 - 1),
            "amount": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "paid": st.none() | st.booleans(),
            "who": st.none() | PRINTABLE,
            "at": st.none() | st.integers(1, 4 * 10**15).map(lambda ticks: EPOCH + timedelta(microseconds=ticks)),
        }
    ),
    min_size=1,
)


def batches(path: Path, schema: pa.Schema = SCHEMA, period: Period = JULY, **options: object) -> list[Batch]:
    """What a source at `path` delivers, with times local in Berlin."""
    found = file_source("payments", schema, timezone="Europe/Berlin", **options)(str(path), {}, period)  # type: ignore[arg-type]
    return [each for each in found if isinstance(each, Batch)]


def read(text: str, folder: Path, schema: pa.Schema = SCHEMA, **options: object) -> list[dict[str, object]]:
    """The rows of a file with that text."""
    (folder / "file.csv").write_text(text, encoding="utf-8")
    rows: list[dict[str, object]] = batches(folder, schema, **options)[0].read()[0].to_pylist()
    return rows


def unreadable(rows: list[dict[str, object]]) -> list[dict[str, str]]:
    """What each of the rows had that cannot be read."""
    return [dict(row.get("unreadable") or []) for row in rows]  # type: ignore[call-overload]


def refusal(text: str, folder: Path, schema: pa.Schema = SCHEMA) -> str:
    """What is said of a file with that text, from after its name."""
    with pytest.raises(SourceError) as raised:
        read(text, folder, schema)
    return str(raised.value).removeprefix(f"{folder / 'file.csv'}: ")


def instant(text: str, folder: Path) -> str | None:
    """A time as it is read."""
    found = read(f"at\n{text}\n2024-01-01\n", folder, pa.schema({"at": INSTANT}))[0]["at"]
    return found.isoformat() if isinstance(found, datetime) else None


class TestRows:
    @given(ROWS)
    def test_are_those_that_were_written(self, rows: list[dict[str, object]]) -> None:
        """Any table comes back as it was, in its schema, whatever is in its texts and wherever it has gaps."""
        table = pa.Table.from_pylist(rows, SCHEMA)
        with tempfile.TemporaryDirectory() as folder:
            pyarrow.csv.write_csv(table, Path(folder) / "file.csv")
            assert table == batches(Path(folder))[0].read()[0]

    def test_have_the_declared_columns_in_the_declared_order(self, tmp_path: Path) -> None:
        """Headers are found by the names that code uses; other columns are dropped, with a note."""
        (tmp_path / "file.csv").write_text("Paid At,,Customer ID,rest\n2024-07-01,0,7,x\n", encoding="utf-8")
        table, notes = batches(tmp_path, pa.schema({"customer_id": pa.int64(), "paid_at": INSTANT}))[0].read()
        assert ["customer_id", "paid_at"] == table.column_names
        assert ["without a name: dropped", "rest: dropped"] == [
            note.partition(";")[0].removeprefix("a column ") for note in notes
        ]

    @pytest.mark.parametrize("nothing", ["", "NA", "NaN", "null", "None", " ", '""'])
    def test_are_null_where_a_cell_says_nothing(self, nothing: str, tmp_path: Path) -> None:
        """However it says so; in text only an empty cell does."""
        text = f"id,amount,paid,who,at\n{nothing},{nothing},{nothing},,{nothing}\n"
        assert [dict.fromkeys(SCHEMA.names)] == read(text, tmp_path)

    def test_take_whole_numbers_with_a_point(self, tmp_path: Path) -> None:
        """As pandas writes them in a column with gaps, to the last digit."""
        assert [{"id": 9007199254740993}] == read("id\n9007199254740993.0\n", tmp_path, pa.schema({"id": pa.int64()}))

    def test_keep_text_as_it_is(self, tmp_path: Path) -> None:
        """Namibia is no missing value, and 007 no seven."""
        text = "code,who\nNA,007\n"
        assert [{"code": "NA", "who": "007"}] == read(
            text, tmp_path, pa.schema({"code": pa.string(), "who": pa.string()})
        )


class TestTimes:
    @pytest.mark.parametrize(
        ("written", "utc"),
        [
            ("2024-07-01", "2024-06-30T22:00:00"),
            ("2024-07-01 12:00", "2024-07-01T10:00:00"),
            ("2024-07-01T12:00:00.1234567", "2024-07-01T10:00:00.123456"),
            ("2024-01-01T12:00:00", "2024-01-01T11:00:00"),
            ("2024-07-01T12:00:00Z", "2024-07-01T12:00:00"),
            ("2024-07-01 12:00:00+05:30", "2024-07-01T06:30:00"),
            ("2024-10-27 02:30", "2024-10-27T00:30:00"),
        ],
    )
    def test_are_local_unless_they_say_otherwise(self, written: str, utc: str, tmp_path: Path) -> None:
        """An offset counts; without one a time is Berlin's, an ambiguous one its first occurrence, and a date its midnight."""
        assert f"{utc}+00:00" == instant(written, tmp_path)

    def test_that_never_were_are_null(self, tmp_path: Path) -> None:
        """A time that the jump to summer time skipped is null, and kept as it was delivered."""
        rows = read("at\n2024-03-31 02:30\n2024-03-31 03:30\n", tmp_path, pa.schema({"at": INSTANT}))
        assert [None, datetime(2024, 3, 31, 1, 30, tzinfo=UTC)] == [row["at"] for row in rows]
        assert [{"at": "2024-03-31 02:30"}, {}] == unreadable(rows)

    def test_that_never_were_differ_from_those_that_are_not_known_yet(self, tmp_path: Path) -> None:
        """When a label became known may be null because it has not yet: only the row with an impossible time is unreadable."""
        text = "at,known_at\n2024-03-30 12:00,2024-03-31 02:30\n2024-03-30 12:00,\n2024-03-31 02:30,2024-03-31 12:00\n"
        rows = read(text, tmp_path, pa.schema({"at": INSTANT, "known_at": INSTANT}))
        assert [{"known_at": "2024-03-31 02:30"}, {}, {"at": "2024-03-31 02:30"}] == unreadable(rows)

    def test_of_a_day_that_begins_late_are_its_beginning(self, tmp_path: Path) -> None:
        """In Santiago clocks jump at midnight: that day begins at 1."""
        (tmp_path / "file.csv").write_text("day\n2024-09-08\n", encoding="utf-8")
        source = file_source("days", pa.schema({"day": INSTANT}), timezone="America/Santiago")
        found = next(iter(source(str(tmp_path), {}, JULY))).read()[0]["day"].to_pylist()
        assert [datetime(2024, 9, 8, 4, tzinfo=UTC)] == found


class TestDeliveries:
    def test_are_the_files_of_a_folder_in_order(self, tmp_path: Path) -> None:
        """Each is a batch of its own name; a single file is one, too."""
        for name in ("b.csv", "a.csv", "c.CSV", "jan[1]*?.csv", "date=2024-01-01.csv", "ü #%20'.csv"):
            (tmp_path / name).write_text(ROW, encoding="utf-8")
        expected = ["a", "b", "c", "date=2024-01-01", "jan[1]*?", "ü #%20'"]
        assert [("payments", batch) for batch in expected] == [(each.table, each.name) for each in batches(tmp_path)]
        assert ["b"] == [each.name for each in batches(tmp_path / "b.csv")]

    def test_leave_out_other_files_by_name(self, tmp_path: Path) -> None:
        """Whatever lies in the folder is a batch, or is named with the reason why it is none."""
        (tmp_path / "folder.csv").mkdir()
        for name in ("a.csv", ".hidden.csv", "b.csv.zip", "readme.txt", "c\n.csv", "d\t.csv"):
            (tmp_path / name).write_text(ROW, encoding="utf-8")
        (tmp_path / "header.csv").write_text("id,amount,paid,who,at\n\n", encoding="utf-8")
        (tmp_path / "empty.csv").write_bytes(b"")
        os.close(os.open(os.fsencode(tmp_path) + b"/J\xf6rg.csv", os.O_CREAT))
        found = file_source("payments", SCHEMA, timezone="UTC")(str(tmp_path), {}, JULY)
        unread = {each.name: each.reason.split()[-1] for each in found if isinstance(each, Unread)}
        assert {"hidden", "folder", ".parquet", "row", "have"} == {*unread.values()}
        assert unread == {
            ".hidden.csv": "hidden",
            "J\\xf6rg.csv": "have",
            "b.csv.zip": ".parquet",
            "c\n.csv": "have",
            "d\t.csv": "have",
            "empty.csv": "row",
            "folder.csv": "folder",
            "header.csv": "row",
            "readme.txt": ".parquet",
        }
        assert ["a"] == [each.name for each in batches(tmp_path)]

    def test_of_two_files_with_one_stem_are_refused(self, tmp_path: Path) -> None:
        """Both are named: they would be one batch."""
        for name in ("a.csv", "a.CSV"):
            (tmp_path / name).write_text(ROW, encoding="utf-8")
        with pytest.raises(SourceError, match=r"a\.CSV and a\.csv"):
            batches(tmp_path)

    def test_have_a_digest_of_all_that_decides_their_rows(self, tmp_path: Path) -> None:
        """It changes with the file and the schema; not with the period, unless that decides rows."""
        path = tmp_path / "file.csv"
        path.write_text(ROW, encoding="utf-8")
        before, august = batches(path)[0].digest, Period(JULY.start, JULY.end + timedelta(days=31))
        assert before == batches(path, period=august)[0].digest
        assert before != batches(path, pa.schema({"id": pa.int64()}))[0].digest
        path.write_text(ROW.replace("ann", "bob"), encoding="utf-8")
        assert before != batches(path)[0].digest

    def test_take_no_options(self, tmp_path: Path) -> None:
        """What is written there would have no effect, and so is an error."""
        with pytest.raises(SettingsError, match="delimiter: unknown key"):
            file_source("payments", SCHEMA, timezone="UTC")(str(tmp_path), {"delimiter": ";"}, JULY)


class TestAddedColumns:
    def test_a_delay_after_a_time(self, tmp_path: Path) -> None:
        """known_at is that long after the column; null where it is."""
        schema = pa.schema({"at": INSTANT, "id": pa.int64(), "known_at": INSTANT})
        rows = read("at,id\n2024-07-01,1\n,2\n", tmp_path, schema, known_after=("at", timedelta(days=30)))
        assert [datetime(2024, 7, 30, 22, tzinfo=UTC), None] == [row["known_at"] for row in rows]

    @given(st.lists(st.text(string.ascii_letters, min_size=1), min_size=1, unique=True))
    def test_a_moment_follows_from_the_key_alone(self, keys: list[str]) -> None:
        """Equal keys have equal timestamps, in whatever file and order, all within the period."""
        schema = pa.schema({"key": pa.string(), "as_of": INSTANT, "known_at": INSTANT})
        with tempfile.TemporaryDirectory() as folder:
            forwards = read("\n".join(["key", *keys, ""]), Path(folder), schema, scattered_by="key")
            backwards = read("\n".join(["key", *reversed(keys), keys[0], ""]), Path(folder), schema, scattered_by="key")
        assert forwards == backwards[:-1][::-1]
        assert forwards[0] == backwards[-1]
        assert all(JULY.start <= row["as_of"] < JULY.end for row in forwards)  # type: ignore[operator]

    def test_moments_fill_the_period_evenly(self, tmp_path: Path) -> None:
        """A thousand keys leave no tenth of it nearly empty."""
        schema = pa.schema({"key": pa.int64(), "as_of": INSTANT, "known_at": INSTANT})
        rows = read("\n".join(["key", *map(str, range(1000)), ""]), tmp_path, schema, scattered_by="key")
        tenths = [int((row["as_of"] - JULY.start) / (JULY.end - JULY.start) * 10) for row in rows]  # type: ignore[operator]
        assert all(70 <= tenths.count(tenth) <= 130 for tenth in range(10))

    def test_a_row_without_a_key_has_no_moment(self, tmp_path: Path) -> None:
        """It is quarantined."""
        schema = pa.schema({"key": pa.int64(), "a": pa.int64(), "as_of": INSTANT, "known_at": INSTANT})
        assert read("key,a\n,1\n", tmp_path, schema, scattered_by="key")[0]["as_of"] is None

    def test_another_period_is_another_digest(self, tmp_path: Path) -> None:
        """Because timestamps follow from it."""
        (tmp_path / "file.csv").write_text("key\n1\n", encoding="utf-8")
        schema, august = (
            pa.schema({"key": pa.int64(), "as_of": INSTANT, "known_at": INSTANT}),
            Period(JULY.start, JULY.end + timedelta(days=31)),
        )
        digests = {batches(tmp_path, schema, period, scattered_by="key")[0].digest for period in (JULY, august)}
        assert 2 == len(digests)

    def test_stand_in_the_schema(self) -> None:
        """Where they do not, the use case is wrong."""
        with pytest.raises(SettingsError, match=r"\bpayments: .*\bas_of, known_at, key\."):
            file_source("payments", pa.schema({"id": pa.int64()}), timezone="UTC", scattered_by="key")


class TestRefusals:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("id", "1.5"),
            ("id", "1,5"),
            ("id", "0x10"),
            ("id", "9223372036854775808"),
            ("amount", "1,5"),
            ("amount", "a lot"),
            ("amount", "-Infinity"),
            ("amount", "1e999"),
            ("paid", "maybe"),
            ("who", "a\0b"),
            ("at", "7/1/2024"),
            ("at", "2024-02-30"),
            ("at", "0001-01-01T00:00:00"),
            ("at", "9999-12-31"),
        ],
    )
    def test_are_of_single_values(self, column: str, value: str, tmp_path: Path) -> None:
        """A value that its column cannot hold is kept as it was delivered; the other rows are read."""
        schema = pa.schema([SCHEMA.field(column)])
        good = {"id": "+7", "amount": "7e0", "paid": "True", "who": "ann", "at": "2024-07-01"}[column]
        (tmp_path / "file.csv").write_text(f'{column},b\n{good},1\n"{value}",3\n{good},4\n', encoding="utf-8")
        table = SourceTable("payments", schema, key=(column,), event_time="at" if column == "at" else None)
        use_case = replace(feed.use_case, tables=(table,))
        rows = read_batch(use_case, batches(tmp_path, schema)[0]).drop_columns([ROW_ID]).to_pylist()
        assert [{}, {column: value}, {}] == unreadable(rows)
        assert rows[0] == rows[2]

    def test_a_column_that_is_missing(self, tmp_path: Path) -> None:
        """With what there is instead."""
        assert [] == missing(
            refusal("id,amount\n1,2\n", tmp_path), "paid, who, at;", "id, amount.", 'optional=("paid", "who", "at")'
        )

    def test_two_columns_of_one_name(self, tmp_path: Path) -> None:
        """Nobody knows which is meant."""
        assert [] == missing(refusal("Id,id,who\n1,2,a\n", tmp_path), "'Id' and 'id'", "be id")

    def test_a_file_without_rows(self, tmp_path: Path) -> None:
        """A header alone is nothing to learn from."""
        for text in ("", "id,amount,paid,who,at\n"):
            (tmp_path / "file.csv").write_text(text, encoding="utf-8")
            with pytest.raises(SourceError, match=r"file\.csv.* holds no row"):
                batches(tmp_path / "file.csv")[0].read()
            with pytest.raises(SourceError, match=r"file\.csv.* holds no row"):
                batches(tmp_path)

    def test_a_row_with_another_number_of_cells(self, tmp_path: Path) -> None:
        """It stays in its place, as a text, among rows that are read."""
        schema = pa.schema({"id": pa.int64(), "who": pa.string()})
        rows = read('id,who\n1,ann\n2,b,ob\n\n3\n4,"eve, ""\nhers"""\n5,"x" y\n', tmp_path, schema)
        assert [1, None, None, 4, None] == [row["id"] for row in rows]
        expected = [{}, {"whole_row": "2,b,ob"}, {"whole_row": "3"}, {}, {"whole_row": '5,"x" y'}]
        assert expected == unreadable(rows)

    @pytest.mark.parametrize(
        ("content", "line", "names"),
        [
            ("who\nann\nJörg\n".encode("latin-1"), 3, "Latin-1"),
            ("Größe,who\n1,ann\n".encode("latin-1"), 1, "Latin-1"),
            ("who\nann\n".encode("utf-16"), 1, "UTF-16"),
            (gzip.compress(b"who\nann\nann\n" * 9, mtime=0) + b"\n\n1\n2", 1, "gzip"),
        ],
    )
    def test_a_file_in_another_encoding(self, content: bytes, line: int, names: str, tmp_path: Path) -> None:
        """Text that is not UTF-8 is not guessed at: the line is named, and what the file may be."""
        (tmp_path / "file.csv").write_bytes(content)
        with pytest.raises(SourceError, match=rf"file\.csv: .*line {line} .*UTF-8.*{names}"):
            batches(tmp_path / "file.csv", pa.schema({"who": pa.string()}))[0].read()

    def test_a_path_without_a_file(self, tmp_path: Path) -> None:
        """Neither a file nor a folder that has one."""
        for path, word in ((tmp_path, ".csv"), (tmp_path / "no.csv", "there")):
            with pytest.raises(SourceError) as raised:
                batches(path)
            assert str(path) == raised.value.subject
            assert [] == missing(raised.value.problem, word)
            assert [] == missing(raised.value.remedy, "source.path", "params.yaml")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Customer ID", "customer_id"),
        ("customerID", "customer_id"),
        ("class", "class_"),
        ("  Straße (nr.) ", "strasse_nr"),
        ("2nd visit", "column_2nd_visit"),
        ("label", "label_"),
        ("json", "json_"),
        ("int", "int_"),
        ("__x__", "x"),
        ("日付", ""),
    ],
)
def test_a_header_becomes_a_name(header: str, name: str) -> None:
    """Of lower-case letters, digits and single underscores, that neither Python nor the pipelines use otherwise."""
    assert name == identifier(header)
