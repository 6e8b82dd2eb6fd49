"""Ingest: batches become raw tables as they are, or a clear error and nothing else."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_pipeline.gaps import read_gaps
from feature_pipeline.ingest import ingest
from ratchet.core.clock import Period
from ratchet.core.errors import SourceError, StoreError
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.partitions import read_manifest
from ratchet.use_case.batch import Batch, Gap
from tests.support.feed import PAYMENTS, deliver, deliver_shops, feed_project, folder, payment
from tests.support.killing import contents, survives
from tests.support.runs import noshow_project
from tests.support.variants import with_use_case

TWO = [payment(1, "2024-01-01T10:00"), payment(2, None)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A project with one batch of payments and one of shops."""
    run = feed_project(tmp_path)
    deliver_shops(run)
    deliver(run, "one", TWO)
    return run


def prepare(root: Path) -> None:
    """What stands before the work that is killed everywhere."""
    run = feed_project(root)
    deliver_shops(run)
    deliver(run, "gone", TWO)
    deliver(run, "one", TWO)
    ingest(run)
    deliver(run, "gone", TWO).unlink()
    deliver(run, "one", TWO[:1])
    deliver(run, "two", TWO)
    cut_short(deliver(run, "three", TWO))


def work(root: Path) -> None:
    ingest(feed_project(root))


def test_raw_rows_are_the_delivered_rows_with_their_identity(run: Run) -> None:
    """Nothing is judged or changed: rows in delivered order, in the stored schema, with the batch and place of each."""
    ingest(run)
    raw = pq.read_table(run.paths.raw / "payments" / "one.parquet")
    assert run.use_case.table("payments").raw_schema == raw.schema
    came = dict.fromkeys(["row_late_at", "row_seen_at", "row_known_seen_at"])
    expected = [{"row_id": f"one:0000000{place}", **row, **came, "unreadable": None} for place, row in enumerate(TWO)]
    assert expected == raw.to_pylist()


def test_reports_rows_and_notes_also_when_nothing_was_read(run: Run) -> None:
    """What a loader noted is reported by every run, not only by the one that read the batch."""
    expected = {
        "delivered": {"payments": 2, "shops": 2},
        "rows": {"payments": 2, "shops": 2},
        "late": {},
        "corrected": {},
        "gaps": {},
        "rejected": {},
        "unread": {},
        "notes": {"payments": {"one": ["read from one.parquet"]}, "shops": {"all": ["read from all.parquet"]}},
    }
    assert expected == ingest(run)
    before = contents(run.paths.raw)
    assert expected == ingest(run)
    assert before == contents(run.paths.raw)


def test_reads_only_what_changed(run: Run) -> None:
    """A new batch does not touch the files of others, and one that is gone takes its file with it."""
    deliver(run, "two", TWO[:1])
    ingest(run)
    first = run.paths.raw / "payments" / "one.parquet"
    written = first.stat().st_mtime_ns
    deliver(run, "two", TWO)
    (run.root / "batches" / "shops" / "all.parquet").rename(run.root / "batches" / "shops" / "new.parquet")
    assert {"payments": 4, "shops": 2} == ingest(run)["rows"]
    assert written == first.stat().st_mtime_ns
    assert ["payments/one", "payments/two", "shops/new"] == list(read_manifest(run.paths.raw))


def test_columns_may_come_in_any_order(run: Run) -> None:
    """The stored order is the schema's."""
    path = deliver(run, "one", TWO)
    pq.write_table(pq.read_table(path).select(["amount", "at", "shop", "id"]), path)
    ingest(run)
    assert PAYMENTS.names == pq.read_schema(run.paths.raw / "payments" / "one.parquet").names[1:5]


def parquet(folder: Path) -> dict[str, bytes]:
    """The tables of a folder, without the manifest."""
    return {path: content for path, content in contents(folder).items() if path.endswith(".parquet")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["amount"]), "lacks .*'amount'"),
        (lambda table: table.append_column("tip", table["amount"]), ".*unknown .*'tip'"),
        (lambda table: table.set_column(0, "id", table["id"].cast("string")), "has 'id' as string .*int64"),
        (lambda table: table.rename_columns(["id", "shop", "at", "sum"]), "lacks .*'amount'; .*unknown .*'sum'"),
        (lambda table: table.slice(0, 0), "holds no row"),
    ],
)
def test_rejects_a_batch_of_another_shape(run: Run, change: Callable[[pa.Table], pa.Table], message: str) -> None:
    """The report names the batch and every column that is wrong. What was delivered before holds, and the rest goes on."""
    ingest(run)
    before = parquet(run.paths.raw)
    path = deliver(run, "one", TWO[:1])
    pq.write_table(change(pq.read_table(path)), path)
    deliver(run, "two", TWO)
    report = ingest(run)
    assert re.match(f"batch payments/one: {message}", report["rejected"]["payments"]["one"])
    assert ({}, 4) == (report["gaps"], report["rows"]["payments"])
    assert before == {name: content for name, content in parquet(run.paths.raw).items() if "two" not in name}
    after = contents(run.paths.raw)
    assert (report, after) == (ingest(run), contents(run.paths.raw))
    deliver(run, "one", TWO[:1])
    report = ingest(run)
    assert ({}, 3) == (report["rejected"], report["rows"]["payments"])


def test_what_to_do_is_said_however_many_columns_are_named(run: Run) -> None:
    """After a file's 25 headers, of which each is long."""

    def wide(path: str, options: Mapping[str, Any], period: Period) -> Iterator[Batch]:
        for batch in folder(path, options, period):
            yield replace(batch, digest="wide", read=refuse) if batch.name == "two" else batch

    def refuse() -> tuple[pa.Table, list[str]]:
        headers = ", ".join(f"a_column_with_a_long_name_{number}" for number in range(25))
        raise SourceError(f"lacks column x; it has {headers}", subject="two", remedy='did you mean renamed={"X": "x"}?')

    deliver(run, "two", TWO)
    report = ingest(with_use_case(run, sources={"folder": wide}))
    assert report["rejected"]["payments"]["two"].endswith('did you mean renamed={"X": "x"}?')


def test_a_batch_that_could_never_be_read_is_a_gap(run: Run) -> None:
    """Half a file is named, without the folder of the checkout, and the other batches are read."""
    cut_short(deliver(run, "two", TWO))
    report = ingest(run)
    assert re.match(r"batches/payments/two\.parquet: .*Parquet", report["rejected"]["payments"]["two"])
    assert {"payments": {"two": str(run.period("all"))}} == report["gaps"]
    assert ["payments/one", "shops/all"] == list(read_manifest(run.paths.raw))
    deliver(run, "two", TWO)
    report = ingest(run)
    assert ({}, {}, 4) == (report["rejected"], report["gaps"], report["rows"]["payments"])


def test_a_gap_has_the_period_of_its_batch(run: Run) -> None:
    """A loader that knows of what time the rows are tells what is missing."""
    period = Period(datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))

    def known(path: str, options: Mapping[str, Any], asked: Period) -> Iterator[Batch]:
        yield from (replace(batch, period=period) for batch in folder(path, options, asked))

    run = with_use_case(run, sources={"folder": known})
    cut_short(deliver(run, "two", TWO))
    assert {"payments": {"two": str(period)}} == ingest(run)["gaps"]
    assert [Gap("payments", "two", period)] == read_gaps(run.paths.gaps)


def test_a_table_of_which_nothing_can_be_read_stops(run: Run) -> None:
    """There is nothing to go on with, so the error is raised, and what stood before stands."""
    cut_short(run.root / "batches" / "payments" / "one.parquet")
    with pytest.raises(SourceError, match=r"one\.parquet: .*Parquet"):
        ingest(run)
    assert {} == parquet(run.paths.raw / "payments")
    deliver(run, "one", TWO)
    assert 2 == ingest(run)["rows"]["payments"]


def test_code_that_no_longer_reads_what_it_read_stops(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery is the same, so it is not at fault, and no batch is left out."""
    deliver(run, "two", TWO)
    ingest(run)
    before = parquet(run.paths.raw)

    def wrong(path: str, options: Mapping[str, Any], asked: Period) -> Iterator[Batch]:
        for batch in folder(path, options, asked):
            yield replace(batch, count=lambda: 7) if batch.name == "two" else batch

    run = with_use_case(run, sources={"folder": wrong})
    monkeypatch.setattr("feature_pipeline.ingest.CODE", "other")
    with pytest.raises(SourceError, match="batch payments/two: "):
        ingest(run)
    assert before == parquet(run.paths.raw)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def test_refuses_a_source_that_lacks_a_table(run: Run) -> None:
    """A table without any batch is an error, not an empty table."""
    (run.root / "batches" / "shops" / "all.parquet").unlink()
    with pytest.raises(SourceError, match=r"^source 'folder' at batches: .*\bshops .*\[2024-01-01"):
        ingest(run)


def test_refuses_a_batch_of_no_table(run: Run) -> None:
    """A loader that hands over rows of a table that was not declared is fixed, not ignored."""
    deliver(run, "one", TWO, table="payment")
    with pytest.raises(SourceError, match=r"^batch payment/one: .*no table"):
        ingest(run)


def test_a_full_disk_leaves_nothing_half_written(run: Run) -> None:
    """The error names the file and the remedy; with room again, a rerun gives what an undisturbed run gives."""
    deliver(run, "two", [payment(n, "2024-01-01T10:00", amount=n / 7) for n in range(5000)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"two\.parquet: .*written.*room"):
            ingest(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ["one.parquet"] == [path.name for path in run.paths.raw.rglob("*") if path.suffix in {".parquet", ".tmp"}]
    assert ["payments/one"] == list(read_manifest(run.paths.raw))
    assert {"payments": 5002, "shops": 2} == ingest(run)["rows"]


def test_may_be_killed_anywhere(tmp_path: Path) -> None:
    """After a kill at any write, a rerun leaves the bytes of an undisturbed run."""
    assert survives("tests.unit.feature_pipeline.test_ingest", tmp_path) > 5


def test_a_feed_that_is_no_file(tmp_path: Path) -> None:
    """A loader may make its rows: the same interval gives the same bytes."""
    for name in ("one", "two"):
        report = ingest(noshow_project(tmp_path / name, rows_per_week=5))
        counts = {"appointments": 31 * 5}
        nothing: Report = {name: {} for name in ("notes", "late", "corrected", "gaps", "rejected", "unread")}
        assert {"delivered": counts, "rows": counts, **nothing} == report
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
