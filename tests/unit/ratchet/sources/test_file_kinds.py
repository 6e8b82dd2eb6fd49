"""Every kind of file gives the same rows, and is refused by its name where it is not whole."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from ratchet.core.clock import Period
from ratchet.core.errors import SourceError
from ratchet.sources.file_source import file_source
from ratchet.use_case.batch import Batch, Unread
from ratchet.use_case.contract import INSTANT

JULY = Period.between(date(2024, 7, 1), date(2024, 8, 1), "Europe/Berlin")
SCHEMA = pa.schema({"id": pa.int64(), "who": pa.string(), "at": INSTANT})
TIMES = [datetime.fromisoformat(text) for text in ("2024-07-01T12:00", "2024-07-02")]
ROWS = pa.table({"ID": [1, 2], "who": ["ann", None], "at": TIMES, "x": [0, 0]})
Write = Callable[[pa.Table, Path], None]


def write_gzip(rows: pa.Table, path: Path) -> None:
    with gzip.open(path, "wb") as file:
        pyarrow.csv.write_csv(rows, file)


KINDS: dict[str, Write] = {".csv": pyarrow.csv.write_csv, ".csv.gz": write_gzip, ".parquet": pq.write_table}
PACKED = {end: KINDS[end] for end in (".csv.gz", ".parquet")}


@pytest.fixture(params=KINDS)
def end(request: pytest.FixtureRequest) -> str:
    """The end of the names of files of a kind."""
    return str(request.param)


def batches(path: Path) -> list[Batch]:
    """What a source at a path delivers, with times local in Berlin."""
    found = file_source("payments", SCHEMA, timezone="Europe/Berlin")(str(path), {}, JULY)
    return [each for each in found if isinstance(each, Batch)]


def unread(path: Path) -> dict[str, str]:
    """What a source at a path does not read."""
    found = file_source("payments", SCHEMA, timezone="Europe/Berlin")(str(path), {}, JULY)
    return {each.name: each.reason for each in found if isinstance(each, Unread)}


def test_rows_do_not_depend_on_the_kind(end: str, tmp_path: Path) -> None:
    """Nor the number of rows, the dropped columns and the name of the batch; nor on the case of the name's end."""
    shown = " (int64)" if end == ".parquet" else ""
    KINDS[end](ROWS, tmp_path / f"a{end.upper()}")
    [batch] = batches(tmp_path)
    rows, notes = batch.read()
    expected = [
        {"id": 1, "who": "ann", "at": datetime(2024, 7, 1, 10, tzinfo=UTC)},
        {"id": 2, "who": None, "at": datetime(2024, 7, 1, 22, tzinfo=UTC)},
    ]
    assert ("a", expected, [f'x{shown}: dropped; to keep it, add "x": pa.int64() to the schema']) == (
        batch.name,
        rows.to_pylist(),
        [note for note in notes if note.startswith("x")],
    )
    assert batch.count is not None
    assert 2 == batch.count()
    assert [tmp_path / f"a{end.upper()}"] == batch.files


def test_a_file_alone_is_a_batch(end: str, tmp_path: Path) -> None:
    """Whatever else lies beside it."""
    KINDS[end](ROWS, tmp_path / f"a{end}")
    KINDS[end](ROWS, tmp_path / f"b{end}")
    assert ["a"] == [batch.name for batch in batches(tmp_path / f"a{end}")]


def test_batches_are_named_after_their_path(end: str, tmp_path: Path) -> None:
    """Below the part of the path that is no pattern; the rest of what lies there is named."""
    for name in ("2024-01/trips_1", "2024-01/zones", "2024-02/trips_1", "old/trips_9"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        KINDS[end](ROWS, tmp_path / f"{name}{end}")
    pattern = tmp_path / "2024-*" / f"trips_*{end}"
    assert ["2024-01__trips_1", "2024-02__trips_1"] == [batch.name for batch in batches(pattern)]
    assert [f"2024-01/zones{end}", "old"] == sorted(unread(pattern))


def test_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """Whether they differ by their kind, or by where they lie."""
    write_gzip(ROWS, tmp_path / "a.csv.gz")
    pq.write_table(ROWS, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"a\.csv\.gz and a\.parquet .*'a'"):
        batches(tmp_path)
    (tmp_path / "b").mkdir()
    shutil.move(tmp_path / "a.csv.gz", tmp_path / "b" / "c.csv.gz")
    shutil.move(tmp_path / "a.parquet", tmp_path / "b__c.parquet")
    with pytest.raises(SourceError, match=r"b/c\.csv\.gz and b__c\.parquet .*'b__c'"):
        batches(tmp_path / "**" / "*c.*")


def test_a_name_that_no_file_can_have_is_not_read(tmp_path: Path) -> None:
    """A deep path makes a long name."""
    deep = tmp_path.joinpath(*["x" * 100] * 2)
    deep.mkdir(parents=True)
    KINDS[".csv"](ROWS, deep / "a.csv")
    KINDS[".csv"](ROWS, tmp_path / "a.csv")
    assert ["a"] == [batch.name for batch in batches(tmp_path / "**")]
    [reason] = unread(tmp_path / "**").values()
    assert "180 bytes" in reason


def test_a_pattern_without_a_file_is_refused(tmp_path: Path) -> None:
    """With what there is instead, but not all of it; a file is no folder of files."""
    for number in range(20):
        KINDS[".csv"](ROWS, tmp_path / f"{number:02}.csv")
    with pytest.raises(SourceError, match=r"08\.csv does not match \*\.parquet; and 11 more\.") as raised:
        batches(tmp_path / "*.parquet")
    assert str(tmp_path / "*.parquet") == raised.value.subject
    for path in (tmp_path / "00.csv" / "*.csv", tmp_path / "no" / "*.csv"):
        with pytest.raises(SourceError, match="is not there"):
            batches(path)


@pytest.mark.parametrize("end", PACKED)
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_that_was_cut_short_is_refused(end: str, kept: float, tmp_path: Path) -> None:
    """When it is read and when it is counted, by its own name; the listing goes on."""
    path = tmp_path / f"a{end}"
    KINDS[end](ROWS, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    [batch] = batches(tmp_path)
    assert batch.count is not None
    for use in (batch.read, batch.count):
        with pytest.raises(SourceError) as raised:
            use()
        assert str(path) == raised.value.subject
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("end", PACKED)
def test_a_file_without_rows_is_not_read(end: str, tmp_path: Path) -> None:
    """Neither an empty one nor one of headers alone."""
    KINDS[end](ROWS, tmp_path / f"good{end}")
    KINDS[end](ROWS.slice(0, 0), tmp_path / f"header{end}")
    (tmp_path / f"empty{end}").write_bytes(b"")
    assert {f"header{end}": "holds no row", f"empty{end}": "holds no row"} == unread(tmp_path)
    with pytest.raises(SourceError, match="holds no row"):
        batches(tmp_path / f"empty{end}")[0].read()


def test_a_column_that_is_missing_is_named(end: str, tmp_path: Path) -> None:
    """With what there is instead, and with the file."""
    KINDS[end](ROWS.drop_columns(["at"]), tmp_path / f"a{end}")
    with pytest.raises(SourceError, match=r"lacks column at; it has ID, who, x\.") as raised:
        batches(tmp_path)[0].read()
    assert str(tmp_path / f"a{end}") == raised.value.subject


def test_two_columns_of_one_name_are_refused(end: str, tmp_path: Path) -> None:
    """Nobody knows which is meant."""
    KINDS[end](ROWS.append_column("id", ROWS["ID"]), tmp_path / f"a{end}")
    with pytest.raises(SourceError, match="'ID' and 'id' would both be id"):
        batches(tmp_path)[0].read()


def test_a_misread_row_of_a_packed_file_is_kept(tmp_path: Path) -> None:
    """As one of a plain file."""
    with gzip.open(tmp_path / "a.csv.gz", "wt", encoding="utf-8") as file:
        file.write("id,who,at\n1,ann,2024-07-01\n2,b,ob,2024-07-01\n")
    rows = batches(tmp_path)[0].read()[0].to_pylist()
    assert [None, [("whole_row", "2,b,ob,2024-07-01")]] == [row["unreadable"] for row in rows]


def test_a_plain_file_says_what_it_is(tmp_path: Path) -> None:
    """A file packed by gzip under the name of a plain one is not guessed at."""
    write_gzip(ROWS, tmp_path / "a.csv")
    with pytest.raises(SourceError, match="gzip"):
        batches(tmp_path / "a.csv")[0].read()
