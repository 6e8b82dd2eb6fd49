"""Partitioned Parquet: atomic, reproducible, incremental."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.core.environment import Environment
from ratchet.core.errors import StoreError
from ratchet.storage.arrow import to_array, to_columns
from ratchet.storage.date_folders import date_folder, folder_date, folder_dates
from ratchet.storage.digests import digest, md5
from ratchet.storage.duckdb import connect, scan
from ratchet.storage.files import atomic, read_json, write_json
from ratchet.storage.partitions import (
    MANIFEST,
    Changes,
    Compute,
    Files,
    Provisional,
    by_date,
    files,
    read_manifest,
    unit_digests,
    update,
    write_table,
)
from tests.support.killing import contents, survives

WRITTEN = Path("/proc/self/io")
UNITS = st.dictionaries(st.sampled_from(["a/1", "a/2", "b/1", "c"]), st.integers(1, 3).map(str))


def numbers(*values: float) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.float64())})


def computing(wanted: dict[str, str], log: list[str] | None = None) -> Compute:
    """Each unit is one file whose row is its inputs; `log` collects the units that were computed."""

    def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        for unit in stale:
            if log is not None:
                log.append(unit)
            yield unit, {unit: numbers(float(wanted[unit]))}

    return compute


def prepare(folder: Path) -> None:
    """What stands before the work that is killed everywhere."""
    wanted = {"a/1": "1", "a/2": "1", "b/1": "1"}
    update(folder, wanted, computing(wanted))


def work(folder: Path) -> None:
    """One unit stays, one changes, one goes and two come."""
    wanted = {"a/1": "1", "a/2": "2", "c/1": "1", "c/2": "1"}
    update(folder, wanted, computing(wanted))


def bytes_written() -> int:
    """By this process, so far."""
    return int(WRITTEN.read_text(encoding="utf-8").split("wchar: ")[1].split()[0])


def break_off(folder: Path, wanted: dict[str, str], before: str) -> Path:
    """Compute the units up to one that cannot be computed; the journal that is left."""

    def compute(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
        for unit, tables in computing(wanted)(stale):
            if unit == before:
                raise StoreError("broke", subject="it", remedy="Fix it")
            yield unit, tables

    with pytest.raises(StoreError, match="broke"):
        update(folder, wanted, compute)
    (journal,) = folder.glob("_journal*")
    return journal


class TestUpdate:
    def test_computes_every_unit_of_an_empty_directory(self, tmp_path: Path) -> None:
        """The first run computes all, and says how many rows each unit has."""
        wanted = {"a/1": "1", "a/2": "2"}
        assert Changes(["a/1", "a/2"], [], [], {"a/1": 1, "a/2": 1}) == update(tmp_path, wanted, computing(wanted))
        assert {"a/1.parquet", "a/2.parquet", MANIFEST} == set(contents(tmp_path))

    @settings(max_examples=25)
    @given(first=UNITS, second=UNITS)
    def test_leaves_what_a_fresh_run_would_leave(
        self, tmp_path_factory: pytest.TempPathFactory, first: dict[str, str], second: dict[str, str]
    ) -> None:
        """Whatever stood before, the directory ends as if only the wanted units had ever been there."""
        folder = tmp_path_factory.mktemp("tables")
        update(folder / "used", first, computing(first))
        update(folder / "used", second, computing(second))
        update(folder / "fresh", second, computing(second))
        assert contents(folder / "fresh") == contents(folder / "used")

    @settings(max_examples=25)
    @given(first=UNITS, second=UNITS)
    def test_computes_only_units_whose_inputs_changed(
        self, tmp_path_factory: pytest.TempPathFactory, first: dict[str, str], second: dict[str, str]
    ) -> None:
        """A unit with the digest that it was computed from is not computed again."""
        folder = tmp_path_factory.mktemp("tables")
        update(folder, first, computing(first))
        log: list[str] = []
        changes = update(folder, second, computing(second, log))
        assert [unit for unit, inputs in second.items() if first.get(unit) != inputs] == log == changes.computed
        assert sorted(set(first) - set(second)) == sorted(changes.removed)

    def test_tries_a_provisional_unit_again(self, tmp_path: Path) -> None:
        """What holds for now is there until the unit can be computed; one of which nothing holds is not there."""
        first, second = {"a/1": "1", "a/2": "1"}, {"a/1": "1", "a/2": "2", "a/3": "2"}
        update(tmp_path, first, computing(first))

        def failing(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
            assert ["a/2", "a/3"] == stale
            yield "a/2", Provisional({"a/2": numbers(1.0)})
            yield "a/3", Provisional()

        for _ in range(2):
            assert Changes([], ["a/1"], [], {"a/1": 1, "a/2": 1}) == update(tmp_path, second, failing)
            assert {"a/1.parquet", "a/2.parquet", MANIFEST} == set(contents(tmp_path))
        assert ["a/2", "a/3"] == update(tmp_path, second, computing(second)).computed
        update(tmp_path / "fresh", second, computing(second))
        assert contents(tmp_path / "fresh") == {
            path: content for path, content in contents(tmp_path).items() if not path.startswith("fresh")
        }

    @pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half a fi")])
    def test_mends_a_file_that_is_not_as_written(self, tmp_path: Path, damage: object) -> None:
        """A lost or damaged file is computed again though its inputs did not change."""
        wanted = {"a/1": "1", "a/2": "2"}
        update(tmp_path, wanted, computing(wanted))
        before = contents(tmp_path)
        assert callable(damage)
        damage(tmp_path / "a/1.parquet")
        assert ["a/1"] == update(tmp_path, wanted, computing(wanted)).computed
        assert before == contents(tmp_path)

    def test_a_unit_stays_as_it_was_when_its_successor_cannot_be_computed(self, tmp_path: Path) -> None:
        """A failure in the middle loses nothing: units written are kept, others stand as they stood."""
        update(tmp_path, {"a/1": "1", "a/2": "1"}, computing({"a/1": "1", "a/2": "1"}))
        second = unit_digests(tmp_path)["a/2"]

        def failing(stale: Sequence[str]) -> Iterator[tuple[str, Files]]:
            yield stale[0], {stale[0]: numbers(2.0)}
            raise StoreError("broke", subject="it", remedy="Fix it")

        with pytest.raises(StoreError, match="broke"):
            update(tmp_path, {"a/1": "2", "a/2": "2"}, failing)
        assert second == unit_digests(tmp_path)["a/2"]
        assert [2.0] == pq.read_table(tmp_path / "a/1.parquet")["x"].to_pylist()
        assert ["a/2"] == update(tmp_path, {"a/1": "2", "a/2": "2"}, computing({"a/2": "2"})).computed

    def test_refuses_a_computation_that_forgets_a_unit(self, tmp_path: Path) -> None:
        """Missing units are an error, not an empty table."""
        with pytest.raises(StoreError, match="wanted"):
            update(tmp_path, {"a": "1", "b": "1"}, lambda _: [("a", {"a": numbers(1.0)})])

    def test_removes_files_that_no_unit_vouches_for(self, tmp_path: Path) -> None:
        """What a killed run left behind goes, with folders that become empty."""
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / ".x.parquet.1.tmp").write_bytes(b"half")
        update(tmp_path, {"a": "1"}, computing({"a": "1"}))
        assert {"a.parquet", MANIFEST} == set(contents(tmp_path))
        assert not (tmp_path / "old").exists()

    def test_may_be_killed_anywhere(self, tmp_path: Path) -> None:
        """After a kill at any rename, removal or line of the journal, a rerun leaves the bytes of an undisturbed run."""
        assert survives("tests.unit.ratchet.storage.test_partitions", tmp_path) > 8

    def test_what_a_broken_off_run_computed_is_not_computed_again(self, tmp_path: Path) -> None:
        """The journal vouches for it, also where it breaks off within a line: only the unit of that line is computed again."""
        wanted = {"a/1": "1", "a/2": "2", "b/1": "3"}
        journal = break_off(tmp_path, wanted, before="b/1")
        whole = journal.read_bytes()
        first = whole.index(b"}}") + 2  # where the line of a/1 ends
        for length in range(len(whole)):
            journal.write_bytes(whole[:length])
            assert ["a/1"][: length >= first] == list(read_manifest(tmp_path))
        assert ["a/1"] == update(tmp_path, wanted, computing(wanted)).kept
        assert {"a/1.parquet", "a/2.parquet", "b/1.parquet", MANIFEST} == set(contents(tmp_path))

    def test_goes_on_after_a_torn_line(self, tmp_path: Path) -> None:
        """A second run that breaks off does not lose what it computed because the first one was killed within a line."""
        wanted = {"a/1": "1", "a/2": "2", "b/1": "3"}
        journal = break_off(tmp_path, wanted, before="a/2")
        journal.write_bytes(journal.read_bytes()[:-3])
        break_off(tmp_path, wanted, before="b/1")
        assert ["a/1", "a/2"] == list(read_manifest(tmp_path))

    def test_a_journal_counts_for_the_manifest_that_it_continues_alone(self, tmp_path: Path) -> None:
        """Where other tables were put in their place meanwhile, as by `dvc checkout`, those are what stands."""
        other, wanted = {"a/1": "5", "a/2": "5"}, {"a/1": "1", "a/2": "2"}
        update(tmp_path / "other", other, computing(other))
        break_off(tmp_path / "broken", wanted, before="a/2")
        shutil.copytree(tmp_path / "other", tmp_path / "broken", dirs_exist_ok=True)
        assert unit_digests(tmp_path / "other") == unit_digests(tmp_path / "broken")
        update(tmp_path / "broken", other, computing(other))
        assert contents(tmp_path / "other") == contents(tmp_path / "broken")

    @pytest.mark.skipif(not WRITTEN.exists(), reason="the system does not say what a process wrote")
    def test_writes_as_much_for_a_unit_however_many_there_are(self, tmp_path: Path) -> None:
        """Twice the units are twice the bytes: what was written before is not written again."""
        counts = []
        for units in (50, 100):
            wanted, before = {f"{number:03d}": "1" for number in range(units)}, bytes_written()
            update(tmp_path / str(units), wanted, computing(wanted))
            counts.append(bytes_written() - before)
        assert counts[1] == pytest.approx(2 * counts[0], rel=0.05)


class TestAtomic:
    def test_a_failure_leaves_the_former_file(self, tmp_path: Path) -> None:
        """An error while writing changes nothing and leaves no temporary file."""
        write_json(tmp_path / "x.json", {"a": 1})
        with pytest.raises(ValueError, match="Out of range float"):
            write_json(tmp_path / "x.json", {"a": float("nan")})
        assert {"a": 1} == read_json(tmp_path / "x.json")
        assert ["x.json"] == [path.name for path in tmp_path.iterdir()]

    def test_a_full_disk_is_a_clear_error(self, tmp_path: Path) -> None:
        """Where no byte more fits, the error names the file and what to do, and the former file stands."""
        write_table(tmp_path / "x.parquet", numbers(1.0))
        former = md5(tmp_path / "x.parquet")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(StoreError, match=r"x\.parquet: .*written.*room"):
                write_table(tmp_path / "x.parquet", numbers(*np.random.default_rng(0).random(10_000)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert former == md5(tmp_path / "x.parquet")
        assert ["x.parquet"] == [path.name for path in tmp_path.iterdir()]

    def test_makes_the_folders_above(self, tmp_path: Path) -> None:
        """A path may lie in folders that are not there yet."""
        with atomic(tmp_path / "a" / "b" / "c") as temporary:
            temporary.write_bytes(b"1")
        assert b"1" == (tmp_path / "a" / "b" / "c").read_bytes()

    def test_what_may_not_replace_a_file_leaves_it(self, tmp_path: Path) -> None:
        """Of two that make a file at once the first wins, and nothing else is left beside it."""
        path = tmp_path / "a"
        with atomic(path, replace=False) as temporary:
            temporary.write_text("mine")
            path.write_text("theirs")
        assert [("a", "theirs")] == [(found.name, found.read_text()) for found in tmp_path.iterdir()]


class TestBytes:
    def test_a_chunked_table_is_the_same_bytes(self, tmp_path: Path) -> None:
        """How rows arrived does not show in the file."""
        write_table(tmp_path / "one.parquet", numbers(1.0, 2.0, 3.0))
        write_table(tmp_path / "two.parquet", pa.concat_tables([numbers(1.0), numbers(2.0, 3.0)]))
        assert md5(tmp_path / "one.parquet") == md5(tmp_path / "two.parquet")

    def test_a_digest_changes_with_any_part_and_with_their_order(self) -> None:
        """Equal parts give equal digests, others others; the order of keys does not count."""
        assert digest("a", {"x": 1, "y": 2}) == digest("a", {"y": 2, "x": 1})
        assert 4 == len({digest("a", "b"), digest("b", "a"), digest("ab"), digest("a", ["b"])})

    def test_a_units_digest_is_that_of_its_content(self, tmp_path: Path) -> None:
        """Other inputs that give the same rows are the same content to the next step."""
        update(tmp_path / "x", {"a": "1"}, computing({"a": "5"}))
        update(tmp_path / "y", {"a": "2"}, computing({"a": "5"}))
        assert unit_digests(tmp_path / "x") == unit_digests(tmp_path / "y")
        assert read_manifest(tmp_path / "x") != read_manifest(tmp_path / "y")

    def test_a_directory_without_units_is_an_error(self, tmp_path: Path) -> None:
        """A step that finds no tables says which stage to run, and does not go on with nothing."""
        with pytest.raises(StoreError, match="holds no tables"):
            unit_digests(tmp_path)


class TestReading:
    def test_files_of_some_dates(self, tmp_path: Path) -> None:
        """Both ends of a span of dates are included, and files of no date; temporary files never are."""
        for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
            write_table(tmp_path / f"date={day}" / "part.parquet", numbers(1.0))
        (tmp_path / "date=2024-01-02" / ".part.parquet.1.tmp").touch()
        write_table(tmp_path / "date=of a batch.parquet", numbers(1.0))
        *found, batch = sorted(files(tmp_path, date(2024, 1, 2), date(2024, 1, 3)))
        assert str(tmp_path / "date=of a batch.parquet") == batch
        assert ["date=2024-01-02", "date=2024-01-03"] == [Path(path).parent.name for path in found]
        assert 4 == len(files(tmp_path))

    @pytest.mark.parametrize(("span", "is_among"), [((1, 2), False), ((2, 3), True), ((4, 8), False), ((8, 9), True)])
    def test_a_file_with_two_dates_is_of_both(self, tmp_path: Path, span: tuple[int, int], is_among: bool) -> None:
        """But of none between them; and it is there once for a span with both."""
        first, last = (date(2024, 1, day) for day in span)
        path = tmp_path / date_folder(date(2024, 1, 3), date(2024, 1, 9)) / "part.parquet"
        write_table(path, numbers(1.0))
        assert ([str(path)] if is_among else []) == files(tmp_path, first, last)
        assert [str(path)] == files(tmp_path, date(2024, 1, 3), date(2024, 1, 9))

    @pytest.mark.parametrize(
        ("first", "last", "is_among"), [(1, 31, False), (32, 32, True), (45, 46, True), (61, 90, False)]
    )
    def test_a_file_of_a_month_is_of_each_of_its_days(
        self, tmp_path: Path, first: int, last: int, is_among: bool
    ) -> None:
        """Days are counted from the beginning of the year; February has 29."""
        path = tmp_path / "month=2024-02" / "part.parquet"
        write_table(path, numbers(1.0))
        span = (date(2024, 1, 1) + timedelta(days=number - 1) for number in (first, last))
        assert ([str(path)] if is_among else []) == files(tmp_path, *span)

    @given(st.lists(st.none() | st.datetimes(datetime(2024, 2, 28), datetime(2024, 3, 2))))  # noqa: DTZ001 - UTC below
    def test_rows_by_date(self, values: list[datetime | None]) -> None:
        """Each date's rows in the order that they had, and the dates in order; a row without an instant has no date."""
        at = pa.array(values, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
        rows = pa.table({"at": at, "row": range(len(values))}, pa.schema({"at": at.type, "row": pa.int64()}))
        expected: dict[date, list[int]] = {}
        for row, value in enumerate(values):
            if value is not None:
                expected.setdefault(value.date(), []).append(row)
        found = {day: of_day["row"].to_pylist() for day, of_day in by_date(rows, "at").items()}
        assert expected == found
        assert sorted(expected) == list(found)

    def test_a_file_has_the_date_of_its_folder(self) -> None:
        """Never that of its own name, and none where its folder says nothing of a date."""
        one, other = date(2024, 1, 1), date(2024, 1, 5)
        folders = ("date=2024-01-01/", "static/", "", f"{date_folder(one, one)}/", f"{date_folder(one, other)}/")
        paths = [f"{folder}date=2024-01-09.parquet" for folder in folders]
        assert [[one], [], [], [one], [one, other]] == [folder_dates(path) for path in paths]
        assert [one, None, None, one, one] == [folder_date(path) for path in paths]

    def test_scanning_nothing_gives_the_columns(self, tmp_path: Path) -> None:
        """A span of dates without files is an empty table of the schema."""
        schema = pa.schema({"at": pa.timestamp("us", "UTC"), "n": pa.int64()})
        assert schema.empty_table() == scan(connect(Environment()), tmp_path, schema).to_pyarrow()

    @pytest.mark.parametrize("name", ["a?b", "a[1]", "a*", "a'b", "x=1"])
    def test_paths_are_no_patterns(self, tmp_path: Path, name: str) -> None:
        """What DuckDB would take for a pattern, or for a column, is the name of a folder."""
        for number, folder in enumerate([name, "a1", "axb"]):
            write_table(tmp_path / folder / "date=2024-01-02" / "part.parquet", numbers(number))
        read = scan(connect(Environment()), tmp_path / name, pa.schema({"x": pa.float64()})).to_pyarrow()
        assert {"x": [0.0]} == read.to_pydict()

    def test_duckdb_reads_instants_in_utc(self, tmp_path: Path) -> None:
        """An instant comes back from DuckDB as it was written."""
        rows = pa.table({"at": pa.array([datetime(2024, 3, 10, 7, 30, tzinfo=UTC)], pa.timestamp("us", "UTC"))})
        write_table(tmp_path / "x.parquet", rows)
        found = scan(connect(Environment()), tmp_path, rows.schema)
        assert [7] == found.select(hour=found["at"].hour()).to_pyarrow()["hour"].to_pylist()
        assert rows["at"].to_pylist() == found.to_pyarrow()["at"].to_pylist()


class TestColumns:
    @given(st.lists(st.none() | st.integers(-(2**53), 2**53)))
    def test_integers_become_floats_with_nan(self, values: list[int | None]) -> None:
        """An integer column is float64 whether or not a value is missing."""
        expected = np.array([np.nan if value is None else value for value in values], np.float64)
        (found,) = to_columns(pa.table({"x": pa.array(values, pa.int64())})).values()
        assert np.dtype(np.float64) == found.dtype
        np.testing.assert_array_equal(expected, found)

    @given(st.integers(2**53 + 1, 2**63 - 1), st.sampled_from([1, -1]))
    def test_integers_that_would_become_others_are_refused_where_that_matters(self, value: int, sign: int) -> None:
        """A key of eighteen digits is not taken for its neighbour; an amount may be rounded."""
        column = pa.chunked_array([pa.array([sign * value], pa.int64())])
        assert [float(sign * value)] == to_array(column).tolist()
        with pytest.raises(pa.ArrowInvalid, match="not in range"):
            to_array(column, exact=True)

    @given(st.lists(st.none() | st.booleans()))
    def test_booleans_become_floats_with_nan(self, values: list[bool | None]) -> None:
        """A truth is 1.0, a falsehood 0.0, a gap NaN."""
        expected = np.array([np.nan if value is None else float(value) for value in values], np.float64)
        np.testing.assert_array_equal(expected, to_columns(pa.table({"x": pa.array(values, pa.bool_())}))["x"])

    @given(st.lists(st.none() | st.text()))
    def test_strings_stay_objects(self, values: list[str | None]) -> None:
        """A missing string is None."""
        assert values == to_columns(pa.table({"x": pa.array(values, pa.string())}))["x"].tolist()

    @given(st.lists(st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))))  # noqa: DTZ001 - UTC below
    def test_instants_become_naive_utc_microseconds(self, values: list[datetime | None]) -> None:
        """A missing instant is NaT."""
        column = pa.array(values, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
        found = to_columns(pa.table({"x": column}))["x"]
        np.testing.assert_array_equal(np.array(values, "datetime64[us]"), found)
        assert np.dtype("datetime64[us]") == found.dtype
