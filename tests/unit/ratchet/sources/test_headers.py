"""A schema that changes: each new, retyped, renamed or missing column has a defined result."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError, SourceError
from ratchet.sources.file_source import file_source
from ratchet.sources.headers import Headers, Kind
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import INSTANT
from tests.support.messages import missing

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
PERIOD = Period(NOON, NOON + timedelta(days=1))
SCHEMA = pa.schema({"id": pa.int64(), "tip": pa.float64()})
WRITERS: dict[str, Callable[[pa.Table, Path], object]] = {"csv": pyarrow.csv.write_csv, "parquet": pq.write_table}


@pytest.fixture(params=[*WRITERS])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the file that is delivered."""
    return str(request.param)


def batch(folder: Path, kind: str, columns: dict[str, Any], schema: pa.Schema = SCHEMA, **options: Any) -> Batch:
    """A file with these columns as a batch."""
    WRITERS[kind](pa.table(columns), folder / f"file.{kind}")
    [found] = file_source("payments", schema, timezone="UTC", **options)(str(folder), {}, PERIOD)
    assert isinstance(found, Batch)
    return found


def read(*given: Any, **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    rows, notes = batch(*given, **options).read()
    return rows.to_pylist(), notes


class TestNewColumn:
    @pytest.mark.parametrize(
        ("values", "declared"),
        [
            ([1, 2], "pa.int64()"),
            ([1.5, None], "pa.float64()"),
            ([True, False], "pa.bool_()"),
            (["a", "2"], "pa.string()"),
            ([NOON, None], "INSTANT"),
        ],
    )
    def test_is_dropped_with_the_line_that_keeps_it(
        self, values: list[Any], declared: str, kind: str, tmp_path: Path
    ) -> None:
        """The batch is kept; with that line, the column is there with its values."""
        columns = {"id": [1, 2], "tip": [0.5, 1.5], "Day Part": values}
        rows, [note] = read(tmp_path, kind, columns)
        assert [{"id": 1, "tip": 0.5}, {"id": 2, "tip": 1.5}] == rows
        assert [] == missing(note, "Day Part", "dropped", f'"day_part": {declared}')
        added = eval(declared, {"pa": pa, "INSTANT": INSTANT})  # noqa: S307 - the line that a person would add
        rows, notes = read(tmp_path, kind, columns, SCHEMA.append(pa.field("day_part", added)))
        assert (values, []) == ([row["day_part"] for row in rows], [note for note in notes if "dropped" in note])

    def test_says_its_type(self, tmp_path: Path) -> None:
        """Where it has one; a type that no column can hold is said, and so is a column without values."""
        columns = {
            "id": [1],
            "tip": [0.5],
            "amount": pa.array([1.5], pa.float32()),
            "points": [[1]],
            "gone": pa.nulls(1),
            "code": pa.array(["a"]).dictionary_encode(),
        }
        notes = batch(tmp_path, "parquet", columns).read()[1]
        assert [] == missing(notes[0], "amount (float)", '"amount": pa.float64()')
        assert [] == missing(notes[1], "points (list<element: int64>)", "no column")
        assert [] == missing(notes[2], "gone", "no values")
        assert [] == missing(notes[3], '"code": pa.string()')

    def test_without_a_name_for_code_is_kept_under_a_given_one(self, tmp_path: Path) -> None:
        """The note has its header as it is."""
        columns = {"id": [1], "tip": [0.5], "日付": [7]}
        assert '{"日付": …}' in read(tmp_path, "csv", columns)[1][0]
        schema = SCHEMA.append(pa.field("day", pa.int64()))
        rows, _ = read(tmp_path, "csv", columns, schema, renamed={"日付": "day"})
        assert [{"id": 1, "tip": 0.5, "day": 7}] == rows


class TestRetypedColumn:
    @pytest.mark.parametrize(
        ("column", "values", "delivered", "expected"),
        [
            ("id", pa.array([7, None], pa.int32()), "int32", [7, None]),
            ("id", pa.array([7.0, None]), "double", [7, None]),
            ("id", pa.array(["7", "8.0"]), "string", [7, 8]),
            ("id", pa.array(["7", "7"]).dictionary_encode(), "dictionary", [7, 7]),
            ("id", pa.array([Decimal("7.00"), None]), "decimal128", [7, None]),
            ("tip", pa.array([1, None], pa.uint8()), "uint8", [1.0, None]),
            ("tip", pa.array([1.5, 2.5], pa.float32()), "float", [1.5, 2.5]),
            ("tip", pa.array([Decimal("0.10"), None]), "decimal128", [0.1, None]),
        ],
    )
    def test_is_cast_and_noted(
        self, column: str, values: pa.Array, delivered: str, expected: list[Any], tmp_path: Path
    ) -> None:
        """From what to what; every value is exact."""
        columns = {"id": [1, 2], "tip": [0.5, 1.5], column: values}
        rows, [note] = read(tmp_path, "parquet", columns)
        assert expected == [row[column] for row in rows]
        assert note.startswith(f"{column}: {delivered}")
        assert note.endswith(f"→ {column} {SCHEMA.field(column).type}")

    def test_keeps_values_that_are_not_exact_as_text(self, tmp_path: Path) -> None:
        """A code with a fraction is no code; the other rows are read."""
        rows, _ = read(tmp_path, "parquet", {"id": [7.0, 7.5, 8.0], "tip": [1.0, 1.0, 1.0]})
        assert [7, None, 8] == [row["id"] for row in rows]
        assert [None, [("id", "7.5")], None] == [row["unreadable"] for row in rows]

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_times_may_have_any_unit(self, unit: str, tmp_path: Path) -> None:
        """They are the same instants."""
        columns = {"at": pa.array([NOON], pa.timestamp(unit, "UTC"))}
        WRITERS["parquet"](pa.table(columns), tmp_path / "file.parquet")
        rows, _ = read(tmp_path, "parquet", columns, pa.schema({"at": INSTANT}))
        assert [{"at": NOON}] == rows


RENAMED = {"Gratuity": "tip"}


class TestRenamedColumn:
    @pytest.mark.parametrize("header", ["tip", "Gratuity", "gratuity"])
    def test_is_found_under_either_header(self, header: str, kind: str, tmp_path: Path) -> None:
        """In any batch; the other header is noted."""
        rows, notes = read(tmp_path, kind, {"id": [1], header: [0.5]}, renamed=RENAMED)
        assert [{"id": 1, "tip": 0.5}] == rows
        assert ([] if header == "tip" else [header]) == [note.partition(":")[0] for note in notes]

    def test_under_both_is_refused(self, kind: str, tmp_path: Path) -> None:
        """Nobody knows which is meant."""
        with pytest.raises(SourceError, match="'tip' and 'Gratuity' would both be tip"):
            read(tmp_path, kind, {"id": [1], "tip": [0.5], "Gratuity": [0.7]}, renamed=RENAMED)

    @pytest.mark.parametrize("name", ["amount_total", "Total Amt", "totalAmount2"])
    def test_is_suggested_among_several_new_ones(self, name: str, tmp_path: Path) -> None:
        """Its words may be shortened, or in a different order."""
        with pytest.raises(SourceError) as raised:
            read(tmp_path, "csv", {"id": [1], "weather": [1], name: [0.5]}, pa.schema({"total_amount": pa.float64()}))
        assert f'renamed={{"{name}": "total_amount"}}' in raised.value.remedy

    @pytest.mark.parametrize("header", ["tips", "tip_amount", "gratuity"])
    def test_is_suggested(self, header: str, kind: str, tmp_path: Path) -> None:
        """If its name is alike, or if it is the only new one; the suggested line works."""
        columns = {"id": [1], header: [0.5]}
        with pytest.raises(SourceError) as raised:
            read(tmp_path, kind, columns)
        assert f'renamed={{"{header}": "tip"}}' in raised.value.remedy
        assert [{"id": 1, "tip": 0.5}] == read(tmp_path, kind, columns, renamed={header: "tip"})[0]

    def test_is_not_suggested_for_a_column_that_is_quite_different(self, tmp_path: Path) -> None:
        """Of several new columns none looks like it."""
        with pytest.raises(SourceError) as raised:
            read(tmp_path, "csv", {"id": [1], "weather": [0.5], "zone": [2]})
        assert "renamed" not in raised.value.remedy

    def test_is_suggested_beside_those_that_are_known(self, tmp_path: Path) -> None:
        """The line replaces the one that is there."""
        with pytest.raises(SourceError) as raised:
            read(tmp_path, "csv", {"id": [1], "tipp": [0.5]}, renamed=RENAMED, optional=("id",))
        assert 'renamed={"Gratuity": "tip", "tipp": "tip"}' in raised.value.remedy
        assert 'optional=("id", "tip")' in raised.value.remedy

    def test_changes_the_digest(self, tmp_path: Path) -> None:
        """A batch is read again if its columns are found in another way."""
        columns = {"id": [1], "tip": [0.5]}
        ways: list[dict[str, Any]] = [{}, {"renamed": RENAMED}, {"optional": ("tip",)}]
        assert 3 == len({batch(tmp_path, "csv", columns, **way).digest for way in ways})


class TestMissingColumn:
    def test_is_refused_with_the_line_to_add(self, kind: str, tmp_path: Path) -> None:
        """With that line, it is null, which is noted."""
        columns = {"id": [1, 2]}
        with pytest.raises(SourceError, match="lacks column tip; it has id") as raised:
            read(tmp_path, kind, columns)
        assert 'optional=("tip",)' in raised.value.remedy
        rows, [note] = read(tmp_path, kind, columns, optional=("tip",))
        assert [{"id": 1, "tip": None}, {"id": 2, "tip": None}] == rows
        assert [] == missing(note, "tip", "null")

    def test_cannot_be_every_column(self, tmp_path: Path) -> None:
        """A file without any of them is another file."""
        with pytest.raises(SourceError, match="lacks column id, tip; it has weather") as raised:
            read(tmp_path, "parquet", {"weather": [1]}, optional=("id", "tip"))
        assert "optional" not in raised.value.remedy

    def test_from_which_others_follow_cannot_be_optional(self, tmp_path: Path) -> None:
        """Neither in the use case nor in what an error suggests."""
        schema = pa.schema({"id": pa.int64(), "at": INSTANT, "known_at": INSTANT})
        known: dict[str, Any] = {"known_after": ("at", timedelta(days=1))}
        with pytest.raises(SettingsError, match=r"source of payments: .*at cannot be optional"):
            file_source("payments", schema, timezone="UTC", optional=("at",), **known)
        with pytest.raises(SourceError, match="lacks column at") as raised:
            read(tmp_path, "csv", {"id": [1]}, schema, **known)
        assert "optional" not in raised.value.remedy


def test_one_optional_column_is_a_tuple_too() -> None:
    """A text would be taken for its letters."""
    with pytest.raises(SettingsError) as raised:
        file_source("payments", SCHEMA, timezone="UTC", optional="tip")
    assert 'optional=("tip",)' in raised.value.remedy


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"renamed": {"a": "nothing"}}, "nothing"),
        ({"optional": ("nothing",)}, "nothing"),
        ({"renamed": {"Id": "tip"}}, "id"),
        ({"renamed": {"a b": "tip", "A_B": "id"}}, "a_b"),
    ],
)
def test_declarations_that_contradict_themselves_are_refused(options: dict[str, Any], names: str) -> None:
    """They name no column of the schema, or a header that could be two."""
    with pytest.raises(SettingsError) as raised:
        Headers("source of payments", ("id", "tip"), **options)
    assert [] == missing(raised.value, "source of payments", names)


@pytest.mark.parametrize(
    ("delivered", "declared"),
    [
        (pa.uint64(), pa.int64()),
        (pa.float16(), pa.float64()),
        (pa.decimal256(40, 2), pa.float64()),
        (pa.date32(), INSTANT),
        (pa.large_string(), pa.string()),
        (pa.binary(), pa.string()),
        (pa.time64("us"), pa.string()),
        (pa.struct({"a": pa.int64()}), None),
        (pa.duration("s"), None),
    ],
)
def test_every_delivered_type_has_one_that_holds_it(delivered: pa.DataType, declared: pa.DataType | None) -> None:
    """Or none, if no column can hold such values."""
    assert Kind(str(delivered), declared) == Kind.of(delivered)
