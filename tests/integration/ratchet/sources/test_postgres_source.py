"""Rows of a table of PostgreSQL, as batches of the UTC days on which they were written last."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import pyarrow as pa
import pytest

from ratchet.core.clock import Period
from ratchet.core.errors import SettingsError, SourceError, SourceUnavailableError
from ratchet.sources.postgres_source import postgres_source
from ratchet.use_case.batch import Batch, Unread
from ratchet.use_case.contract import INSTANT
from tests.support.messages import missing

JANUARY = Period.between(date(2024, 1, 1), date(2024, 2, 1), "Europe/Berlin")
SCHEMA = pa.schema({"id": pa.int64(), "amount": pa.float64(), "paid": pa.bool_(), "who": pa.string(), "at": INSTANT})
ROWS: LiteralString = """
    CREATE TABLE payments (id bigint, amount numeric, paid boolean, "Who" text, at timestamp, updated_at timestamptz, x int);
    INSERT INTO payments VALUES
        (1, 2.50, true, 'ann', '2024-01-01 12:00', '2024-01-02 00:30+01', 0),
        (2, NULL, false, '', '2024-01-01 13:00', '2024-01-02 00:00+00', 0),
        (3, 'NaN', NULL, NULL, '2024-01-01 14:00', '2024-01-02 23:59:59.999999+00', 0);
"""


def execute(database: str, *statements: LiteralString) -> None:
    """Change the database."""
    import psycopg

    with psycopg.connect(database) as connection:
        for statement in statements:
            connection.execute(statement)


def load(
    database: str, schema: pa.Schema = SCHEMA, ways: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, Batch | Unread]:
    """Name → what a source with times local in Berlin delivers. `ways` are how it finds columns."""
    source = postgres_source("payments", schema, timezone="Europe/Berlin", **(ways or {}))
    return {each.name: each for each in source(database, {"watermark": "updated_at", **options}, JANUARY)}


def batch(database: str, name: str = "2024-01-02", schema: pa.Schema = SCHEMA, **options: Any) -> Batch:
    found = load(database, schema, **options)[name]
    assert isinstance(found, Batch)
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The batches that have another digest."""
    return [name for name in before if before[name].digest != after[name].digest]


@pytest.fixture
def payments(database: str) -> str:
    """A database with three payments."""
    execute(database, ROWS)
    return database


def test_days_are_batches(payments: str) -> None:
    """By UTC, in order, with the values of the declared schema and the number of rows."""
    assert ["2024-01-01", "2024-01-02"] == [*load(payments)]
    found = batch(payments)
    rows, notes = found.read()
    assert SCHEMA == rows.schema
    at = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert [
        {"id": 2, "amount": None, "paid": False, "who": "", "at": at},
        {"id": 3, "amount": None, "paid": None, "who": None, "at": at + timedelta(hours=1)},
    ] == rows.to_pylist()
    assert {"amount: numeric → amount double", 'x: dropped; to keep it, add "x": pa.int64() to the schema'} <= {
        note.replace("x (int4)", "x") for note in notes
    }
    assert found.count is not None
    assert (2, None) == (found.count(), found.files)
    assert [2.5] == batch(payments, "2024-01-01").read()[0]["amount"].to_pylist()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payments SET amount = 9 WHERE id = 2",
        'UPDATE payments SET "Who" = NULL WHERE id = 2',
        "UPDATE payments SET updated_at = updated_at + interval '1 second' WHERE id = 2",
        "UPDATE payments SET paid = NOT paid, amount = amount WHERE id = 2",
        "DELETE FROM payments WHERE id = 2",
        "INSERT INTO payments SELECT * FROM payments WHERE id = 2",
    ],
)
def test_a_change_changes_its_day(change: LiteralString, payments: str) -> None:
    """And no other, whether the watermark moved or not."""
    before = load(payments)
    execute(payments, change)
    assert ["2024-01-02"] == changed(before, load(payments))


def test_what_changes_no_row_changes_no_digest(payments: str) -> None:
    """Neither another order of the rows on disk, nor a column that is not declared, nor the server's formats."""
    before = load(payments)
    execute(
        payments,
        "UPDATE payments SET x = 7",
        "ALTER TABLE payments ADD COLUMN y int",
        "CREATE INDEX ON payments (id)",
        "ALTER ROLE ratchet SET datestyle = 'German'",
        "ALTER ROLE ratchet SET timezone = 'Asia/Tokyo'",
    )
    try:
        assert [] == changed(before, load(payments))
        [first, _] = batch(payments, schema=pa.schema({"updated_at": INSTANT})).read()[0]["updated_at"].to_pylist()
        assert datetime(2024, 1, 2, tzinfo=UTC) == first
    finally:
        execute(payments, "ALTER ROLE ratchet RESET ALL")


def test_rows_come_in_one_order(payments: str) -> None:
    """Of the watermark and then of their values, however they lie on disk."""
    execute(payments, "UPDATE payments SET updated_at = '2024-01-02 12:00+00'")
    before = batch(payments).read()[0]
    execute(
        payments,
        "DELETE FROM payments WHERE id = 1",
        "INSERT INTO payments SELECT 1, 2.50, true, 'ann', '2024-01-01 12:00', '2024-01-02 12:00+00', 0",
    )
    assert before == batch(payments).read()[0]


@pytest.mark.parametrize(
    ("kind", "values", "expected", "unreadable"),
    [
        ("bigint", "7", 7, None),
        ("numeric", "7.00", 7, None),
        ("numeric", "7.50", None, "7.50"),
        ("text", "'seven'", None, "seven"),
        ("bigint", "9223372036854775807", 9223372036854775807, None),
    ],
)
def test_values_are_read_as_cells_are(
    kind: LiteralString, values: LiteralString, expected: object, unreadable: object, database: str
) -> None:
    """A value that its column cannot hold is null, and kept as text."""
    execute(database, f"CREATE TABLE payments AS SELECT {values}::{kind} AS a, '2024-01-02'::timestamptz AS updated_at")  # type: ignore[arg-type]
    [row] = batch(database, schema=pa.schema({"a": pa.int64()})).read()[0].to_pylist()
    assert (expected, unreadable) == (row["a"], dict(row.get("unreadable") or {}).get("a"))


def test_times_are_instants(database: str) -> None:
    """One with a zone is, one without is local, a date begins its local day; what never was is kept as text."""
    execute(
        database,
        "CREATE TABLE payments (updated_at timestamptz, a timestamptz, b timestamp, c date, d timestamp)",
        "INSERT INTO payments VALUES ('2024-07-02', '2024-07-01 12:00:00.123456+05:30', '2024-07-01 12:00', '2024-07-01', "
        "'2024-03-31 02:30')",
        "INSERT INTO payments VALUES ('2024-07-02 01:00', 'infinity', NULL, '-infinity', 'infinity')",
    )
    first, second = batch(database, "2024-07-02", pa.schema(dict.fromkeys("abcd", INSTANT))).read()[0].to_pylist()
    utc = [first[name].isoformat() if first[name] else None for name in "abcd"]
    assert ["2024-07-01T06:30:00.123456+00:00", "2024-07-01T10:00:00+00:00", "2024-06-30T22:00:00+00:00", None] == utc
    assert {"d": "2024-03-31 02:30:00"} == dict(first["unreadable"])
    assert {"a": "infinity", "c": "-infinity", "d": "infinity"} == dict(second["unreadable"])


def test_many_rows_are_read_in_parts(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is lost between them, and an unreadable value stays in its row."""
    monkeypatch.setattr("ratchet.sources.postgres_table._ROWS", 100)
    execute(
        database,
        "CREATE TABLE payments AS SELECT CASE n WHEN 777 THEN 'x' ELSE n::text END AS a, '2024-01-02'::timestamptz "
        "+ n * interval '1 second' AS updated_at FROM generate_series(0, 999) n",
    )
    rows = batch(database, schema=pa.schema({"a": pa.int64()})).read()[0]
    assert [None if n == 777 else n for n in range(1000)] == rows["a"].to_pylist()
    assert 777 == rows["unreadable"].is_valid().index(True).as_py()


class TestWatermarks:
    def test_of_no_day_are_named(self, payments: str) -> None:
        """Rows without one, or with an infinite one, are in no batch: ingest's report says how many there are."""
        execute(
            payments,
            "UPDATE payments SET updated_at = NULL WHERE id = 1",
            "UPDATE payments SET updated_at = 'infinity' WHERE id = 2",
        )
        found = load(payments)
        assert ["2024-01-02", "payments without updated_at"] == [*found]
        assert (
            Unread("payments without updated_at", "2 rows have no finite updated_at")
            == found["payments without updated_at"]
        )

    def test_may_be_bounded(self, payments: str) -> None:
        """Rows that were written longer before the period are counted, and not read."""
        execute(payments, "UPDATE payments SET updated_at = '2023-12-29 12:00+00' WHERE id = 1")
        assert ["2023-12-29", "2024-01-02"] == [*load(payments)]
        assert ["2023-12-29", "2024-01-02"] == [*load(payments, days_before=2)]
        day, unread = load(payments, days_before=1)
        assert "2024-01-02" == day
        assert [] == missing(unread, "before 2023-12-30")

    @pytest.mark.parametrize("kind", ["timestamp", "date"])
    def test_may_have_no_zone(self, kind: LiteralString, payments: str) -> None:
        """Then they are local: a Berlin day begins on the UTC day before."""
        execute(payments, f"ALTER TABLE payments ALTER updated_at TYPE {kind} USING '2024-01-02'::{kind}")  # type: ignore[arg-type]
        assert 3 == batch(payments, "2024-01-01").read()[0].num_rows

    @pytest.mark.parametrize(
        ("options", "words"), [({"watermark": "x"}, ["payments"]), ({"watermark": "y"}, ["y", "updated_at"])]
    )
    def test_that_are_no_times_are_refused(self, options: dict[str, str], words: list[str], payments: str) -> None:
        """With the table."""
        with pytest.raises(SourceError) as raised:
            load(payments, **options)
        assert [] == missing(str(raised.value), *words)


class TestTables:
    @pytest.mark.parametrize("table", ["public.payments", '"Odd ""Table"', "a_view", "parted"])
    def test_are_named_as_in_sql(self, table: str, payments: str) -> None:
        """In any schema, with any name; a view and a partitioned table are tables, too."""
        execute(
            payments,
            'CREATE TABLE "Odd ""Table" AS SELECT * FROM payments',
            "CREATE VIEW a_view AS SELECT * FROM payments",
            "CREATE TABLE parted (LIKE payments) PARTITION BY RANGE (updated_at)",
            "CREATE TABLE all_parts PARTITION OF parted DEFAULT",
            "INSERT INTO parted SELECT * FROM payments",
        )
        assert 2 == batch(payments, table=table).read()[0].num_rows

    @pytest.mark.parametrize("table", ["no_such", "payments; DROP TABLE payments", "public.payments WHERE false"])
    def test_that_are_absent_are_refused(self, table: str, payments: str) -> None:
        """By their name, which is never run as SQL."""
        with pytest.raises(SourceError):
            load(payments, table=table)
        assert load(payments)

    def test_without_a_declared_column_are_refused(self, payments: str) -> None:
        """With the columns that there are."""
        with pytest.raises(SourceError, match=r"payments of postgresql://\S+: lacks column city; it has id, .*Who"):
            load(payments, pa.schema({"id": pa.int64(), "city": pa.string()}))

    def test_may_have_renamed_and_missing_columns(self, payments: str) -> None:
        """As the source says; when a missing one is there, its days are read again."""
        schema = pa.schema({"id": pa.int64(), "total": pa.float64(), "city": pa.string()})
        ways: dict[str, Any] = {"renamed": {"amount": "total"}, "optional": ("city",)}
        before = load(payments, schema, ways)
        rows, notes = before["2024-01-01"].read()  # type: ignore[union-attr]
        assert [{"id": 1, "total": 2.5, "city": None}] == rows.to_pylist()
        assert {"amount: numeric → total double"} < {*notes}
        execute(payments, "ALTER TABLE payments ADD city text DEFAULT 'x'")
        after = load(payments, schema, ways)
        assert ["2024-01-01", "2024-01-02"] == changed(before, after)
        assert ["x"] == after["2024-01-01"].read()[0]["city"].to_pylist()  # type: ignore[union-attr]

    def test_that_may_not_be_read_are_refused(self, payments: str) -> None:
        """In the server's words."""
        execute(
            payments,
            "DROP ROLE IF EXISTS guest",
            "CREATE ROLE guest LOGIN PASSWORD 's3cret'",
            "GRANT USAGE ON SCHEMA public TO guest",
        )
        with pytest.raises(SourceError, match="permission denied"):
            load(payments.replace("ratchet@", "guest@"))


def test_a_text_that_is_not_utf_8_is_refused(database: str) -> None:
    """A database in SQL_ASCII holds any bytes."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS ascii")
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    other = database.replace("/postgres", "/ascii")
    execute(other, r"CREATE TABLE payments AS SELECT E'J\xf6rg' AS who, '2024-01-02'::timestamptz AS updated_at")
    with pytest.raises(SourceError, match="UTF8"):
        batch(other, schema=pa.schema({"who": pa.string()})).read()


class TestSnapshots:
    def test_hold_while_rows_are_counted_and_read(self, payments: str) -> None:
        """A row that comes after reading does not make the count wrong; the next run sees it."""
        found = batch(payments)
        rows = found.read()[0]
        execute(payments, "INSERT INTO payments SELECT * FROM payments WHERE id = 2")
        assert found.count is not None
        assert 2 == rows.num_rows == found.count()
        assert found.digest != batch(payments).digest

    def test_count_without_reading(self, payments: str) -> None:
        """A count that is asked for alone is a query of its own."""
        found = batch(payments)
        assert found.count is not None
        assert 2 == found.count()


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        ["postgresql://ann:s3cret@host/db", "postgresql://host/db?password=s3cret", "postgresql://ann:s3cret@[host/db"],
    )
    def test_have_no_password(self, address: str) -> None:
        """It is refused, and not repeated."""
        pytest.importorskip("psycopg")
        with pytest.raises(SettingsError, match=r"source\.path") as raised:
            load(address)
        assert "s3cret" not in str(raised.value)

    def test_are_of_a_database(self) -> None:
        """Another path is refused."""
        pytest.importorskip("psycopg")
        with pytest.raises(SettingsError, match="postgresql://user@host"):
            load("batches")

    def test_of_no_server_are_an_error(self) -> None:
        """In one line that names it."""
        pytest.importorskip("psycopg")
        with pytest.raises(
            SourceUnavailableError, match=r"^table payments of postgresql://127\.0\.0\.1:9/db: .*answer"
        ) as raised:
            load("postgresql://ann@127.0.0.1:9/db")
        assert "\n" not in str(raised.value)

    def test_with_a_wrong_password_are_an_error(self, payments: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """That says how to give the right one."""
        monkeypatch.setenv("PGPASSWORD", "wr0ng")
        with pytest.raises(SourceError, match="password authentication failed") as raised:
            load(payments)
        assert [] == missing(raised.value.remedy, "PGPASSFILE")
        assert "wr0ng" not in str(raised.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it; declaring the source needs none."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "ratchet.sources.postgres_table", raising=False)
    with pytest.raises(SettingsError, match=r"pip install 'psycopg\[binary\]"):
        load("postgresql://host/db")
