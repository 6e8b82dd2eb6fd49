"""CSV files as deliveries: what they hold, or an error that says which file, column, row and value."""

from __future__ import annotations

import string
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.clock import Period
from ratchet.csv_source import csv_source
from ratchet.csv_text import identifier
from ratchet.errors import SettingsError, SourceError
from ratchet.use_case import INSTANT, Delivery

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
            "at": st.none() | st.integers(0, 4 * 10**15).map(lambda ticks: EPOCH + timedelta(microseconds=ticks)),
        }
    ),
    min_size=1,
)


def deliveries(path: Path, schema: pa.Schema = SCHEMA, period: Period = JULY, **options: object) -> list[Delivery]:
    """What a source at `path` delivers, with times local in Berlin."""
    return [*csv_source("payments", schema, timezone="Europe/Berlin", **options)(str(path), {}, period)]  # type: ignore[arg-type]


def read(text: str, folder: Path, schema: pa.Schema = SCHEMA, **options: object) -> list[dict[str, object]]:
    """The rows of a file with that text."""
    (folder / "file.csv").write_text(text, encoding="utf-8")
    rows: list[dict[str, object]] = deliveries(folder, schema, **options)[0].read()[0].to_pylist()
    return rows


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
            assert table == deliveries(Path(folder))[0].read()[0]

    def test_have_the_declared_columns_in_the_declared_order(self, tmp_path: Path) -> None:
        """Headers are found by the names that code uses; other columns are dropped, with a note."""
        (tmp_path / "file.csv").write_text("Paid At,,Customer ID,rest\n2024-07-01,0,7,x\n", encoding="utf-8")
        table, notes = deliveries(tmp_path, pa.schema({"customer_id": pa.int64(), "paid_at": INSTANT}))[0].read()
        assert ["customer_id", "paid_at"] == table.column_names
        assert ["a column without a name: dropped", "rest: dropped"] == notes

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
        """A time that the jump to summer time skipped is null, so that its row is quarantined, and noted."""
        (tmp_path / "file.csv").write_text("at\n2024-03-31 02:30\n2024-03-31 03:30\n", encoding="utf-8")
        table, notes = deliveries(tmp_path, pa.schema({"at": INSTANT}))[0].read()
        assert [None, datetime(2024, 3, 31, 1, 30, tzinfo=UTC)] == table["at"].to_pylist()
        assert ["at: 1 times that the jump to summer time skipped, now null, as are all times of their rows"] == notes

    def test_that_never_were_leave_their_row_without_any(self, tmp_path: Path) -> None:
        """When a label became known may be null because it has not yet: such a row would be accepted, and never labelled."""
        text = "at,known_at\n2024-03-30 12:00,2024-03-31 02:30\n2024-03-30 12:00,\n2024-03-31 02:30,2024-03-31 12:00\n"
        rows = read(text, tmp_path, pa.schema({"at": INSTANT, "known_at": INSTANT}))
        expected = [(None, None), (datetime(2024, 3, 30, 11, tzinfo=UTC), None), (None, None)]
        assert expected == [(row["at"], row["known_at"]) for row in rows]

    def test_of_a_day_that_begins_late_are_its_beginning(self, tmp_path: Path) -> None:
        """In Santiago clocks jump at midnight: that day begins at 1."""
        (tmp_path / "file.csv").write_text("day\n2024-09-08\n", encoding="utf-8")
        source = csv_source("days", pa.schema({"day": INSTANT}), timezone="America/Santiago")
        found = next(iter(source(str(tmp_path), {}, JULY))).read()[0]["day"].to_pylist()
        assert [datetime(2024, 9, 8, 4, tzinfo=UTC)] == found


class TestDeliveries:
    def test_are_the_files_of_a_folder_in_order(self, tmp_path: Path) -> None:
        """Each is a batch of its own name; a single file is one, too."""
        for name in ("b.csv", "a.csv", "readme.txt"):
            (tmp_path / name).write_text(ROW, encoding="utf-8")
        assert [("payments", "a"), ("payments", "b")] == [(each.table, each.batch) for each in deliveries(tmp_path)]
        assert ["b"] == [each.batch for each in deliveries(tmp_path / "b.csv")]

    def test_have_a_digest_of_all_that_decides_their_rows(self, tmp_path: Path) -> None:
        """It changes with the file and the schema; not with the period, unless that decides rows."""
        path = tmp_path / "file.csv"
        path.write_text(ROW, encoding="utf-8")
        before, august = deliveries(path)[0].digest, Period(JULY.start, JULY.end + timedelta(days=31))
        assert before == deliveries(path, period=august)[0].digest
        assert before != deliveries(path, pa.schema({"id": pa.int64()}))[0].digest
        path.write_text(ROW.replace("ann", "bob"), encoding="utf-8")
        assert before != deliveries(path)[0].digest

    def test_take_no_options(self, tmp_path: Path) -> None:
        """What is written there would have no effect, and so is an error."""
        with pytest.raises(SettingsError, match="delimiter: unknown key"):
            csv_source("payments", SCHEMA, timezone="UTC")(str(tmp_path), {"delimiter": ";"}, JULY)


class TestAddedColumns:
    def test_a_delay_after_a_time(self, tmp_path: Path) -> None:
        """known_at is that long after the column; null where it is."""
        schema = pa.schema({"at": INSTANT, "id": pa.int64(), "known_at": INSTANT})
        rows = read("at,id\n2024-07-01,1\n,2\n", tmp_path, schema, known_after=("at", timedelta(days=30)))
        assert [datetime(2024, 7, 30, 22, tzinfo=UTC), None] == [row["known_at"] for row in rows]

    @given(st.lists(st.text(string.ascii_letters, min_size=1), min_size=1, unique=True))
    def test_a_moment_follows_from_the_key_alone(self, keys: list[str]) -> None:
        """Equal keys have equal moments, in whatever file and order, all within the period."""
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
        """Because moments follow from it."""
        (tmp_path / "file.csv").write_text("key\n1\n", encoding="utf-8")
        schema, august = (
            pa.schema({"key": pa.int64(), "as_of": INSTANT, "known_at": INSTANT}),
            Period(JULY.start, JULY.end + timedelta(days=31)),
        )
        digests = {deliveries(tmp_path, schema, period, scattered_by="key")[0].digest for period in (JULY, august)}
        assert 2 == len(digests)

    def test_stand_in_the_schema(self) -> None:
        """Where they do not, the use case is wrong."""
        with pytest.raises(SettingsError) as raised:
            csv_source("payments", pa.schema({"id": pa.int64()}), timezone="UTC", scattered_by="key")
        assert (
            "csv source of payments: the schema lacks as_of, known_at, key. Add it to the schema that csv_source is given."
            == str(raised.value)
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("column", "value", "kind"),
        [
            ("id", "1.5", "whole number"),
            ("id", "1,5", "whole number"),
            ("amount", "1,5", "number"),
            ("amount", "a lot", "number"),
            ("paid", "maybe", "true or false"),
            ("at", "7/1/2024", "time such as 2024-01-31 or 2024-01-31T18:30:00"),
        ],
    )
    def test_name_column_row_and_value(self, column: str, value: str, kind: str, tmp_path: Path) -> None:
        """The first value that does not fit, counted after the header."""
        expected = (
            f"column {column}, row 3 after the header: {value!r} is no {kind}. "
            "Mend the value, leave the cell empty, or change the column's type in the use case."
        )
        schema = pa.schema([SCHEMA.field(column)])
        assert expected == refusal(f'{column},b\n,1\n,2\n"{value}",3\n"{value}",4\n,5\n', tmp_path, schema)

    def test_a_column_that_is_missing(self, tmp_path: Path) -> None:
        """With what there is instead."""
        assert refusal("id,amount\n1,2\n", tmp_path) == (
            "lacks column paid, who, at; it has id, amount. "
            "Deliver it with that column, or take the column out of the use case's schema."
        )

    def test_two_columns_of_one_name(self, tmp_path: Path) -> None:
        """Nobody knows which is meant."""
        assert refusal("Id,id,who\n1,2,a\n", tmp_path) == (
            "columns 'Id' and 'id' would both be id. Rename one of them in the file."
        )

    def test_a_file_without_rows(self, tmp_path: Path) -> None:
        """A header alone is nothing to learn from."""
        assert "holds no row. Deliver it whole, or take it away." == refusal("id,amount,paid,who,at\n", tmp_path)

    @pytest.mark.parametrize("text", ["", "id,amount\n1,2,3\n"])
    def test_a_file_that_is_no_table(self, text: str, tmp_path: Path) -> None:
        """Empty, or with rows of another length."""
        said = refusal(text, tmp_path)
        assert said.startswith("cannot be read as CSV (")
        assert said.endswith("). Deliver it whole: comma-separated, in UTF-8, with a line of column names.")

    def test_a_file_in_another_encoding(self, tmp_path: Path) -> None:
        """Text that is not UTF-8 is not guessed at."""
        (tmp_path / "file.csv").write_bytes("who\nJörg\n".encode("latin-1"))
        with pytest.raises(SourceError, match=r"cannot be read as CSV .*UTF-?8"):
            deliveries(tmp_path, pa.schema({"who": pa.string()}))[0].read()

    def test_a_path_without_a_file(self, tmp_path: Path) -> None:
        """Neither a file nor a folder that has one."""
        remedy = "Deliver a CSV file, or set source.path in params.yaml to a file or to a folder of them."
        for path, problem in ((tmp_path, "holds no .csv file"), (tmp_path / "no.csv", "is not there")):
            with pytest.raises(SourceError) as raised:
                deliveries(path)
            assert f"{path}: {problem}. {remedy}" == str(raised.value)


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
