"""Every ready-made source behaves in one way: only what changed is read again, and what was read survives a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from feature_pipeline.ingest import ingest
from ratchet.core.errors import SourceError
from ratchet.project.run import Run
from ratchet.sources.watermark import sense
from ratchet.storage.files import read_json
from tests.support.feed import feed_project
from tests.support.feeds import CsvFolder, Database, Feed, Observed, Pattern, Web, named
from tests.support.variants import with_use_case
from tests.support.web_server import web_server


@pytest.fixture
def csv_folder(tmp_path: Path) -> Feed:
    return CsvFolder(tmp_path)


@pytest.fixture
def pattern(tmp_path: Path) -> Feed:
    return Pattern(tmp_path)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web_server() as server:
        yield Web(server)


@pytest.fixture
def postgres(database: str) -> Feed:
    return Database(database)


@pytest.fixture(params=["csv_folder", "pattern", "web", "postgres"])
def feed(request: pytest.FixtureRequest) -> Feed:
    """A source that has two days."""
    feed: Feed = request.getfixturevalue(request.param)
    feed.deliver(0, [1, 2])
    feed.deliver(1, [3])
    return feed


@pytest.fixture
def reads() -> list[str]:
    """The batches that were read."""
    return []


@pytest.fixture
def run(feed: Feed, reads: list[str], tmp_path: Path) -> Run:
    """A project that has read the two days."""
    source = feed.settings
    run = feed_project(tmp_path).with_settings(source=source)
    run = with_use_case(run, sources={source.name: Observed(feed.loader, reads)})
    sense([run])
    ingest(run)
    reads.clear()
    return run


def raw(run: Run) -> dict[str, bytes]:
    """The name of each batch of payments → its raw table."""
    return {path.stem[-10:]: path.read_bytes() for path in (run.paths.raw / "payments").glob("*.parquet")}


@pytest.fixture
def watermark(run: Run) -> Callable[[], bytes]:
    """What the sensors write when they are called now."""

    def written() -> bytes:
        sense([run])
        return run.paths.watermark.read_bytes()

    return written


def test_nothing_new_is_nothing_read(run: Run, reads: list[str], watermark: Callable[[], bytes]) -> None:
    """However often the source is asked, and by whichever process."""
    before, kept = watermark(), raw(run)
    again = replace(run, settings=run.settings)
    report = ingest(again)
    assert ({"payments": 3, "shops": 1}, before, kept, []) == (report["rows"], watermark(), raw(run), reads)
    assert report["rows"] == report["delivered"]


def test_a_new_batch_is_noticed(run: Run, feed: Feed, reads: list[str], watermark: Callable[[], bytes]) -> None:
    """And it alone is read."""
    before, kept = watermark(), raw(run)
    feed.deliver(2, [4, 5])
    assert before != watermark()
    assert 5 == ingest(run)["rows"]["payments"]
    assert ([named(2)], kept) == ([name[-10:] for name in reads], {day: raw(run)[day] for day in kept})


def test_a_changed_batch_is_read_again(run: Run, feed: Feed, reads: list[str], watermark: Callable[[], bytes]) -> None:
    """And it alone is."""
    before, kept = watermark(), raw(run)
    feed.deliver(1, [3, 6])
    assert before != watermark()
    assert 4 == ingest(run)["rows"]["payments"]
    assert [named(1)] == [name[-10:] for name in reads]
    assert {named(1)} == {day for day in kept if kept[day] != raw(run)[day]}


def test_a_batch_that_is_gone_is_gone(run: Run, feed: Feed, reads: list[str], watermark: Callable[[], bytes]) -> None:
    """Nothing is read for that; the batch that is delivered again has its old watermark."""
    before = watermark()
    feed.take_away(1)
    assert before != watermark()
    assert 2 == ingest(run)["rows"]["payments"]
    assert ({named(0)}, []) == ({*raw(run)}, reads)
    feed.deliver(1, [3])
    assert before == watermark()


def test_a_broken_source_keeps_what_was_read(run: Run, feed: Feed, watermark: Callable[[], bytes]) -> None:
    """What is broken is named in one line, as an error or as a rejected batch, and the watermark is another one, so that ingest
    runs and says so."""
    before, kept = watermark(), raw(run)
    name = feed.break_it()
    assert before != watermark()
    (problem,) = problems(run)
    assert name.removeprefix(f"{run.root}/") in problem
    assert "\n" not in problem
    assert kept == raw(run)
    assert [*read_json(run.paths.raw / "_manifest.json")]


def problems(run: Run) -> list[str]:
    try:
        return [problem for batches in ingest(run)["rejected"].values() for problem in batches.values()]
    except SourceError as error:
        return [str(error)]


def test_a_source_that_lost_all_keeps_what_was_read(run: Run, feed: Feed) -> None:
    """Nothing at all is no delivery."""
    kept = raw(run)
    feed.take_away(0)
    feed.take_away(1)
    with pytest.raises(SourceError):
        ingest(run)
    assert kept == raw(run)
