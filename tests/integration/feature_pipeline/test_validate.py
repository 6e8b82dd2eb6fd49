"""Validate: every raw row is accepted or quarantined, with its reasons."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.errors import DataError, StoreError
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.digests import md5
from ratchet.storage.duckdb import connect, scan
from ratchet.storage.files import write_json
from ratchet.storage.partitions import MANIFEST, read_manifest, unit_digests
from tests.support.feed import deliver, deliver_shops, feed_project, payment
from tests.support.killing import contents, survives
from tests.support.rows import accepted_of
from tests.support.runs import noshow_project
from tests.support.variants import with_table
from tests.support.windows import with_end

MORNING, EVENING = "2024-01-01T10:00", "2024-01-02T23:30"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = feed_project(tmp_path)
    deliver_shops(run)
    return run


def ingest_and_validate(run: Run) -> Report:
    ingest(run)
    return validate(run)


def read(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "payments").rglob("*.parquet"), key=lambda path: (path.name, str(path)))
    return [row for path in files for row in pq.read_table(path, partitioning=None).to_pylist()]


def reasons(run: Run) -> dict[str, list[str]]:
    return {row["row_id"]: row["reasons"] for row in read(run.paths.quarantine)}


def accepted(run: Run) -> list[str]:
    return accepted_of(run.paths.data, run.use_case.table("payments"))


def scanned(run: Run, table: str, day: date) -> set[object]:
    """The keys of the accepted rows of a date, as later steps find them."""
    connection = connect(run.environment)
    rows = scan(connection, run.paths.accepted / table, run.use_case.table(table).accepted_schema, day, day)
    return {*connection.to_pyarrow(rows[rows.columns[1]]).to_pylist()}


def prepare(root: Path) -> None:
    """What stands before the work that is killed everywhere: two batches, of which the first has come again."""
    run = feed_project(root)
    deliver_shops(run)
    deliver(run, "two", [payment(1, EVENING), payment(2, EVENING, amount=-1.0)])
    deliver(run, "one", [payment(1, MORNING)])
    ingest_and_validate(run)
    deliver(run, "one", [payment(3, MORNING), payment(1, EVENING)])
    ingest(run)


def work(root: Path) -> None:
    validate(feed_project(root))


class TestRows:
    def test_every_row_has_all_its_reasons(self, run: Run) -> None:
        """A row that breaks several rules says so; the others are accepted as they were delivered."""
        rows = [
            payment(1, MORNING),
            payment(2, MORNING, amount=-5.0),
            payment(3, MORNING, amount=500.0, shop="z"),
            payment(None, MORNING, shop="z"),
            payment(None, None),
            payment(6, MORNING, amount=None, shop=None),
        ]
        deliver(run, "one", rows)
        ingest_and_validate(run)
        expected = {
            "one:00000001": ["amount_out_of_range"],
            "one:00000002": ["amount_out_of_range", "unknown_shop"],
            "one:00000003": ["null_key", "unknown_shop"],
            "one:00000004": ["null_key", "null_event_time"],
        }
        assert expected == reasons(run)
        assert ["one:00000000", "one:00000005"] == accepted(run)
        assert [rows[0], rows[5]] == [{name: row[name] for name in rows[0]} for row in read(run.paths.accepted)]

    def test_the_report_adds_up(self, run: Run) -> None:
        """Rows by table and reasons by rule, for kept batches as for computed ones."""
        deliver(run, "one", [payment(1, MORNING), payment(2, MORNING, amount=-5.0), payment(1, EVENING)])
        expected = {
            "rows": {"raw": 5, "accepted": 3, "quarantined": 1, "duplicates": 1},
            "tables": {
                "payments": {"raw": 3, "accepted": 1, "quarantined": 1, "duplicates": 1},
                "shops": {"raw": 2, "accepted": 2, "quarantined": 0, "duplicates": 0},
            },
            "reasons": {"amount_out_of_range": 1, "duplicate_key": 1},
            "refused": {},
            "warned": {},
            "overruled": {},
        }
        assert expected == ingest_and_validate(run)
        assert expected == ingest_and_validate(run)

    def test_accepted_rows_lie_by_the_utc_date_of_their_event(self, run: Run) -> None:
        """An event table is partitioned by date, a reference table is not."""
        deliver(run, "one", [payment(1, EVENING), payment(2, MORNING)])
        ingest_and_validate(run)
        expected = {
            "_manifest.json",
            "payments/date=2024-01-01/one.parquet",
            "payments/date=2024-01-02/one.parquet",
            "shops/all.parquet",
        }
        assert expected == set(contents(run.paths.accepted))

    def test_a_batch_without_one_good_row_is_accepted_as_none(self, run: Run) -> None:
        """Quarantine holds it all, and nothing is lost."""
        deliver(run, "one", [payment(None, MORNING), payment(2, MORNING, shop="z")])
        assert {"raw": 2, "accepted": 0, "quarantined": 2, "duplicates": 0} == ingest_and_validate(run)["tables"][
            "payments"
        ]
        assert ["one:00000000", "one:00000001"] == list(reasons(run))

    def test_a_key_that_is_not_a_number_is_none(self, run: Run) -> None:
        """NaN equals nothing, not even itself: as a key it is as good as null."""
        measured = with_table(run, "payments", key=("amount",))
        deliver(run, "one", [payment(1, MORNING, amount=float("nan")), payment(2, MORNING)])
        ingest_and_validate(measured)
        assert "null_key" in reasons(run)["one:00000000"]
        assert ["one:00000001"] == accepted(measured)

    def test_a_row_too_few_is_an_error(self, run: Run) -> None:
        """Where accepted and quarantined rows are not all raw ones, the step fails and names the table."""
        deliver(run, "one", [payment(1, MORNING), payment(2, MORNING), payment(3, MORNING, amount=-5.0)])
        ingest_and_validate(run)
        manifest = read_manifest(run.paths.accepted)
        manifest["payments/one"]["rows"] = 1
        write_json(run.paths.accepted / MANIFEST, manifest)
        with pytest.raises(DataError, match=r"table payments: 3 raw .*1 accepted .*1 quarantined"):
            validate(run)

    def test_a_row_that_was_delivered_and_is_not_raw_is_an_error(self, run: Run) -> None:
        """The rows that the source was counted to hold are those that are accepted or quarantined."""
        path = deliver(run, "one", [payment(1, MORNING), payment(2, MORNING)])
        ingest_and_validate(run)
        raw = run.paths.raw / "payments" / "one.parquet"
        table = pq.read_table(raw, partitioning=None)
        pq.write_table(table.slice(1), raw)
        manifest = read_manifest(run.paths.raw)
        manifest["payments/one"] |= {"rows": 1, "files": {"payments/one.parquet": md5(raw)}}
        write_json(run.paths.raw / MANIFEST, manifest)
        assert path.exists()
        with pytest.raises(DataError, match=r"table payments: 2 delivered .*\b1\b"):
            validate(run)

    def test_without_raw_tables_it_says_what_to_run(self, run: Run) -> None:
        """A step does not begin with nothing."""
        with pytest.raises(StoreError, match="holds no tables"):
            validate(run)


class TestUnreadable:
    def test_rows_have_a_reason_for_each_column_and_the_rest_is_accepted(self, run: Run) -> None:
        """They are judged by nothing else, and what was delivered stands beside them."""
        rows = [payment(1, MORNING), payment(None, "0001-01-01", amount=float("inf")), payment(2, MORNING)]
        deliver(run, "one", rows)
        report = ingest_and_validate(run)
        assert {"raw": 3, "accepted": 2, "quarantined": 1, "duplicates": 0} == report["tables"]["payments"]
        assert {"one:00000001": ["unreadable_at", "unreadable_amount"]} == reasons(run)
        kept = dict(read(run.paths.quarantine)[0]["unreadable"])
        assert {"amount": "inf", "at": "0001-01-01 00:00:00.000000Z"} == kept
        assert run.use_case.table("payments").accepted_schema.names == list(read(run.paths.accepted)[0])

    def test_rows_have_the_rules_that_they_break_elsewhere(self, run: Run) -> None:
        """A rule about a column that could not be read is not asked."""
        infinite = [payment(1, MORNING, amount=float("inf"), shop="z"), payment(2, MORNING, amount=float("inf"))]
        deliver(run, "one", [*infinite, payment(3, "9999-01-01", amount=500.0, shop="z"), payment(4, MORNING)])
        ingest_and_validate(run)
        assert {
            "one:00000000": ["unreadable_amount", "unknown_shop"],
            "one:00000001": ["unreadable_amount"],
            "one:00000002": ["unreadable_at", "amount_out_of_range", "unknown_shop"],
        } == reasons(run)
        assert ["one:00000003"] == sorted(accepted(run))

    def test_rows_take_no_key(self, run: Run) -> None:
        """A later row with the key of an unreadable one is accepted, in its batch and in others."""
        deliver(run, "one", [payment(1, MORNING, amount=float("inf")), payment(1, MORNING), payment(2, "9999-01-01")])
        deliver(run, "two", [payment(2, EVENING)])
        ingest_and_validate(run)
        assert ["one:00000001", "two:00000000"] == sorted(accepted(run))

    def test_batch_of_one_such_row_is_accepted_as_none(self, run: Run) -> None:
        """There is nothing left to judge."""
        deliver(run, "one", [payment(1, "2200-01-01")])
        assert {"raw": 1, "accepted": 0, "quarantined": 1, "duplicates": 0} == ingest_and_validate(run)["tables"][
            "payments"
        ]


PATTERNS = ["jan[1]", "ja[n]1", "jan*", "jan?", "**", "[!x]an1"]
NAMES = ["a b", "it's", 'say "x"', "k=v", "date=2024-01-09", "#1", "100%25", "ü", "{a,b}", "~"]


class TestNames:
    def test_of_batches_are_names(self, run: Run) -> None:
        """Those that are patterns, too: every row that comes again is found, no other one, and all lead back to their batch."""
        names = ["jan1", *PATTERNS, *NAMES]
        for number, name in enumerate(names):
            deliver(run, name, [payment(number, MORNING)])
            deliver(run, name, [{"shop": name, "city": "z"}], table="shops")
        deliver(run, "\u00ff", [payment(number, EVENING) for number in range(len(names) + 1)])
        ingest_and_validate(run)
        assert {f"\u00ff:{number:08d}": ["duplicate_key"] for number in range(len(names))} == reasons(run)
        expected = {f"{name}:00000000" for name in names}
        assert {*expected, f"\u00ff:{len(names):08d}"} == {*accepted(run)}
        assert {*range(len(names))} == scanned(run, "payments", date(2024, 1, 1))
        assert {*names, "a", "b"} == scanned(run, "shops", date(2024, 1, 1))

    def test_of_folders_are_no_patterns(self, tmp_path: Path) -> None:
        """A checkout may lie where it likes."""
        run = feed_project(tmp_path / "ratchet[1]*?")
        deliver_shops(run)
        deliver(run, "one", [payment(1, MORNING)])
        deliver(run, "two", [payment(1, MORNING)])
        assert {"duplicate_key": 1} == ingest_and_validate(run)["reasons"]


class TestDuplicates:
    def test_the_first_good_row_with_a_key_counts(self, run: Run) -> None:
        """A row that breaks a rule takes no key: the next one with it is accepted."""
        deliver(run, "one", [payment(1, MORNING, amount=-1.0), payment(1, MORNING), payment(1, EVENING)])
        ingest_and_validate(run)
        assert {"one:00000000": ["amount_out_of_range"], "one:00000002": ["duplicate_key"]} == reasons(run)

    def test_an_earlier_batch_counts_first(self, run: Run) -> None:
        """A key that an earlier batch delivered is a duplicate; batches are in order of their names."""
        deliver(run, "two", [payment(1, MORNING), payment(2, MORNING)])
        deliver(run, "one", [payment(1, MORNING), payment(3, MORNING)])
        ingest_and_validate(run)
        assert {"two:00000000": ["duplicate_key"]} == reasons(run)

    def test_a_key_without_its_time_counts_on_every_date(self, run: Run) -> None:
        """A row that comes again under another date is no other row."""
        deliver(run, "one", [payment(1, MORNING), payment(2, MORNING, amount=-1.0)])
        deliver(run, "two", [payment(1, "2024-03-05T10:00"), payment(2, "2024-03-05T10:00")])
        ingest_and_validate(run)
        assert {"one:00000001": ["amount_out_of_range"], "two:00000000": ["duplicate_key"]} == reasons(run)

    def test_what_an_earlier_batch_lost_to_quarantine_takes_no_key(self, run: Run) -> None:
        """Only accepted rows of earlier batches count."""
        deliver(run, "one", [payment(1, MORNING, shop="z")])
        deliver(run, "two", [payment(1, MORNING)])
        ingest_and_validate(run)
        assert ["two:00000000"] == accepted(run)

    def test_a_changed_batch_judges_later_ones_again(self, run: Run) -> None:
        """When the first of two rows with a key goes, the second is accepted after all."""
        deliver(run, "one", [payment(1, MORNING), payment(2, MORNING)])
        deliver(run, "two", [payment(1, MORNING)])
        ingest_and_validate(run)
        assert {"two:00000000": ["duplicate_key"]} == reasons(run)
        deliver(run, "one", [payment(2, MORNING)])
        ingest_and_validate(run)
        assert ["one:00000000", "two:00000000"] == accepted(run)

    def test_a_new_batch_leaves_earlier_ones_alone(self, run: Run) -> None:
        """Only what comes after a changed batch is judged again."""
        deliver(run, "one", [payment(1, MORNING)])
        ingest_and_validate(run)
        before = unit_digests(run.paths.accepted)["payments/one"]
        written = (run.paths.quarantine / "payments" / "one.parquet").stat().st_mtime_ns
        deliver(run, "two", [payment(2, MORNING)])
        ingest_and_validate(run)
        assert before == unit_digests(run.paths.accepted)["payments/one"]
        assert written == (run.paths.quarantine / "payments" / "one.parquet").stat().st_mtime_ns

    def test_agrees_with_a_plain_loop(self, run: Run) -> None:
        """Many random batches with few keys: what is accepted is what a loop over the rows accepts."""
        rng = random.Random(5)
        batches = [
            (f"batch-{n}", [payment(rng.randrange(30), _instant(rng), rng.choice([1.0, -1.0])) for _ in range(20)])
            for n in range(5)
        ]
        for batch, rows in rng.sample(batches, len(batches)):
            deliver(run, batch, rows)
        ingest_and_validate(run)
        assert sorted(_first_good_rows(batches)) == sorted(accepted(run))


def _instant(rng: random.Random) -> str:
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=rng.randrange(96))).replace(tzinfo=None).isoformat()


def _first_good_rows(batches: Iterable[tuple[str, list[dict[str, Any]]]]) -> Iterable[str]:
    """Every key is taken once."""
    seen = set()
    for batch, rows in batches:
        for place, row in enumerate(rows):
            if row["amount"] > 0 and row["id"] not in seen:
                seen.add(row["id"])
                yield f"{batch}:{place:08d}"


class TestRuns:
    def test_the_same_rows_are_the_same_bytes(self, tmp_path: Path) -> None:
        """Batches that came one by one end as if they had come together, in files and in report."""
        reports = []
        for name, steps in (("slow", [1, 2]), ("fast", [2])):
            run = noshow_project(tmp_path / name, rows_per_week=10)
            reports += [json.dumps(ingest_and_validate(with_end(run, date(2024, months + 1, 1)))) for months in steps]
        assert contents(tmp_path / "slow") == contents(tmp_path / "fast")
        assert reports[1] == reports[2]

    def test_may_be_killed_anywhere(self, tmp_path: Path) -> None:
        """After a kill at any write, a rerun leaves the bytes of an undisturbed run."""
        assert survives("tests.integration.feature_pipeline.test_validate", tmp_path) > 5
