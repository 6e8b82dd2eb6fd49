"""What the sensors write of a source changes with what it holds, whether it is files or not, and with nothing else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from feature_pipeline.ingest import ingest
from ratchet.core.clock import Period
from ratchet.core.errors import SourceError
from ratchet.project.run import Run
from ratchet.sources import batches
from ratchet.sources.batches import Found, Source
from ratchet.sources.file_source import file_source
from ratchet.sources.watermark import sense
from ratchet.storage.digests import digest
from ratchet.storage.files import read_json
from ratchet.use_case.batch import Batch, Loader
from tests.support.feed import PAYMENTS, SHOPS, deliver, deliver_shops, feed_project, folder, payment
from tests.support.runs import write_settings
from tests.support.variants import with_use_case
from tests.support.windows import with_end

NOON = "2024-01-01T12:00:00"
SENSE = """
import sys
from pathlib import Path
from ratchet.project.run import Run
from ratchet.sources.watermark import sense
sense([Run.load(Path(sys.argv[1]))])
print(*sys.modules)
"""


@dataclass(frozen=True)
class Kind:
    """A loader, and how a test delivers the payments of a day to it."""

    loader: Loader
    deliver: Callable[[Run, str, int], None]
    take_away: Callable[[Run, str], None]


def parquet(run: Run, day: str, rows: int) -> None:
    deliver_shops(run)
    deliver(run, day, [payment(number, NOON) for number in range(rows)])


def csv(run: Run, day: str, rows: int) -> None:
    lines = [f"{number},a,{NOON},1.0" for number in range(rows)]
    (run.root / "batches").mkdir(exist_ok=True)
    (run.root / "batches" / f"{day}.csv").write_text("\n".join(["id,shop,at,amount", *lines]), encoding="utf-8")


def table(run: Run, day: str, rows: int) -> None:
    with closing(sqlite3.connect(run.root / "payments.db")) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS payments (day TEXT, id INTEGER)")
        database.execute("DELETE FROM payments WHERE day = ?", [day])
        database.executemany("INSERT INTO payments VALUES (?, ?)", [(day, number) for number in range(rows)])


def table_without(run: Run, day: str) -> None:
    with closing(sqlite3.connect(run.root / "payments.db")) as database, database:
        database.execute("DELETE FROM payments WHERE day = ?", [day])


def shops() -> Batch:
    return Batch("shops", "all", "", lambda: (SHOPS.empty_table(), []), files=())


def csv_loader(path: str, options: Mapping[str, Any], period: Period) -> Iterable[Any]:
    return [*file_source("payments", PAYMENTS, timezone="UTC")(path, options, period), shops()]


def database_loader(path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch]:
    """A batch for each day of a table of a database."""
    with closing(sqlite3.connect(f"file:{Path(path).with_name('payments.db')}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT day, count(*) FROM payments GROUP BY day").fetchall()
    daily = [Batch("payments", day, digest(rows), lambda: (PAYMENTS.empty_table(), [])) for day, rows in found]
    return [*daily, shops()]


KINDS = {
    "parquet": Kind(folder, parquet, lambda run, day: (run.root / "batches" / "payments" / f"{day}.parquet").unlink()),
    "csv": Kind(csv_loader, csv, lambda run, day: (run.root / "batches" / f"{day}.csv").unlink()),
    "database": Kind(database_loader, table, table_without),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def run(kind: Kind, tmp_path: Path) -> Run:
    """A project whose source has two batches."""
    run = with_use_case(feed_project(tmp_path), sources={"folder": kind.loader})
    kind.deliver(run, "one", 3)
    kind.deliver(run, "two", 4)
    return run


def watermark(run: Run) -> bytes:
    """What the sensors write now."""
    sense([run])
    return run.paths.watermark.read_bytes()


def test_it_names_every_batch(run: Run) -> None:
    """By table and name."""
    watermark(run)
    assert ["payments/one", "payments/two", "shops/all"] == [*read_json(run.paths.watermark)["batches"]]


def test_it_stays_while_the_source_does(run: Run) -> None:
    """However often the source is asked."""
    assert watermark(run) == watermark(run)


def test_it_changes_with_every_batch(run: Run, kind: Kind) -> None:
    """A new one, another content, one that is gone."""
    found = [watermark(run)]
    kind.deliver(run, "three", 1)
    found.append(watermark(run))
    kind.deliver(run, "two", 5)
    found.append(watermark(run))
    kind.take_away(run, "three")
    found.append(watermark(run))
    assert 4 == len(set(found))
    kind.deliver(run, "two", 4)
    assert found[0] == watermark(run)


def test_ingest_writes_what_it_reads(tmp_path: Path) -> None:
    """A flow runs without the sensors: ingest itself says what the source held when it began."""
    run = feed_project(tmp_path)
    parquet(run, "one", 3)
    ingest(run)
    written = run.paths.watermark.read_bytes()
    assert written == watermark(run)


def test_a_source_that_cannot_be_asked_stops_no_other(tmp_path: Path) -> None:
    """It is ingest that fails, of this use case alone."""
    empty, good = feed_project(tmp_path / "empty"), feed_project(tmp_path / "good")
    broken = with_use_case(feed_project(tmp_path / "broken"), sources={"folder": lambda *_: 1 / 0})
    parquet(good, "one", 3)
    sense([empty, broken, good])
    assert "delivers nothing of" in read_json(empty.paths.watermark)["problem"]
    assert "ZeroDivisionError" in read_json(broken.paths.watermark)["problem"]
    assert "payments/one" in read_json(good.paths.watermark)["batches"]
    with pytest.raises(SourceError, match="delivers nothing of"):
        ingest(empty)


def test_what_is_no_file_stops_nothing(tmp_path: Path) -> None:
    """A named pipe is not waited for, a link that leads nowhere is not followed: both are listed as not read."""
    run = with_use_case(feed_project(tmp_path), sources={"folder": csv_loader})
    csv(run, "one", 3)
    os.mkfifo(run.root / "batches" / "pipe.csv")
    (run.root / "batches" / "gone.csv").symlink_to("nowhere")
    watermark(run)
    assert {"pipe.csv": "is no file", "gone.csv": "is no file"} == read_json(run.paths.watermark)["unread"]


class TestWithoutAsking:
    """Where files tell, the use case is not imported to find that nothing has changed."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        """A source of files and what was written of it, a minute ago."""
        run = feed_project(tmp_path)
        write_settings(tmp_path, run)
        parquet(run, "one", 3)
        age(run)
        sense([run])
        return run

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
        """Every source that was asked."""
        asked: list[Source] = []

        def find(source: Source) -> Found:
            asked.append(source)
            return batches.find(source)

        monkeypatch.setattr("ratchet.sources.watermark.find", find)
        return asked

    def test_nothing_is_imported(self, run: Run) -> None:
        """And what was written stays."""
        before = run.paths.watermark.read_bytes()
        done = subprocess.run([sys.executable, "-c", SENSE, str(run.root)], capture_output=True, text=True, check=True)
        assert run.settings.use_case not in done.stdout.split()
        assert before == run.paths.watermark.read_bytes()

    def test_every_change_is_seen(self, run: Run, asked: list[Source]) -> None:
        """A batch of its own name, size and age in its place; a new one; code; an answer that was lost."""
        changes: list[Callable[[], object]] = [
            lambda: deliver(run, "one", [payment(number, NOON, shop="b") for number in range(3)]),
            lambda: deliver(run, "new", [payment(9, NOON)]),
            lambda: write_code(run),
            lambda: run.paths.watermark.unlink(),
        ]
        for change in changes:
            change()
            age(run)
            sense([run])
            assert asked
            asked.clear()
            sense([run])
            assert not asked

    def test_a_change_behind_a_link_is_seen(self, run: Run, asked: list[Source], tmp_path: Path) -> None:
        """A batch may be a link to a file elsewhere: that file counts, and where the link leads."""
        batch = run.root / "batches" / "payments" / "one.parquet"
        batch.symlink_to(batch.rename(tmp_path / "elsewhere.parquet"))
        os.utime(batch, (0, 0), follow_symlinks=False)
        age(run)
        sense([run])
        before = run.paths.watermark.read_bytes()
        other = deliver(feed_project(tmp_path / "aside"), "one", [payment(7, NOON)])
        other.replace(tmp_path / "elsewhere.parquet")
        asked.clear()
        sense([run])
        assert asked
        assert before != run.paths.watermark.read_bytes()

    def test_other_settings_are_seen(self, run: Run, asked: list[Source]) -> None:
        """An option of the source, and the instant up to which it is read."""
        source = run.settings.source.model_copy(update={"options": {"a": 1}})
        others = [run.with_settings(source=source), with_end(run, date(2024, 1, 6))]
        for number, other in enumerate(others, start=1):
            sense([other])
            assert number == len(asked)

    def test_what_changed_just_now_is_asked_again(self, run: Run, asked: list[Source]) -> None:
        """A clock's tick can hide a second change."""
        deliver(run, "new", [payment(9, NOON)])
        sense([run])
        sense([run])
        assert 2 == len(asked)


def age(run: Run) -> None:
    """Let what the source follows from be a minute old."""
    for path in (run.root / "batches", *(run.root / "batches").rglob("*"), *run.root.glob("use_cases/*")):
        changed = path.stat().st_mtime_ns - 60 * 1_000_000_000
        os.utime(path, ns=(changed, changed))


def write_code(run: Run) -> None:
    (run.root / "use_cases").mkdir()
    shutil.copy(__file__, run.root / "use_cases" / "module.py")
