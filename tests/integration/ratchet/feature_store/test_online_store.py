"""What every online store does, whichever RATCHET_ONLINE_STORE selects."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import uvloop

from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.core.environment import Environment
from ratchet.core.errors import StoreUnavailableError
from ratchet.feature_store import redis_rows
from ratchet.feature_store.definitions import apply, open_store
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_store import ONLINE_STORES, OnlineStore, feast_project, online_store
from ratchet.feature_store.stored_rows import RowReader, StoredView, key_writer
from ratchet.feature_store.stored_views import stored_views
from ratchet.feature_store.written_store import problem_of, sense
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from ratchet.storage.files import read_json
from ratchet.use_case.columns import UPCOMING
from ratchet.use_case.contract import Array
from tests.support.online_reads import read_online
from tests.support.parcels import requests
from tests.support.redis_server import NoServerError, redis_server
from tests.support.registry import copied
from tests.support.waiting import LONGEST
from tests.support.windows import at

SINCE = datetime(2024, 10, 27, 1, 30, tzinfo=UTC)  # an hour that local clocks in Europe show twice
ROWS = {"depot": [1], "parcels": [3], "grams": [7.0], UPCOMING: ["[]"], "event_timestamp": [SINCE]}


@pytest.fixture(params=ONLINE_STORES)
def run(request: pytest.FixtureRequest, featurized_parcels: Run, tmp_path: Path) -> Run:
    """A project that selects a store, in which nothing was applied yet."""
    copy, selected = copied(featurized_parcels, tmp_path / "copy"), {"online_store": request.param}
    if request.param == "redis":
        selected["redis"] = request.getfixturevalue("empty_redis")
    return replace(copy, environment=copy.environment.model_copy(update=selected))


def store(run: Run) -> OnlineStore:
    return FeatureStore.open(run).online


def test_every_store_that_can_be_selected_is_there() -> None:
    """The setting knows the names of the table, and no others."""
    assert set(ONLINE_STORES) == set(get_args(Environment.model_fields["online_store"].annotation))


def test_a_reader_makes_none(run: Run) -> None:
    """One that is absent is an error, and stays absent: in a new one every feature would be missing."""
    apply(FeatureStore.open(run))
    other = online_store(run.environment, run.paths.state / "elsewhere", "another_project")
    with pytest.raises(StoreUnavailableError, match="stage materialize"):
        other.attach(open_store(FeatureStore.open(run)))
    assert other.mark() is None


def test_a_store_has_a_mark(run: Run) -> None:
    """Which stays when it is made again, and goes with the rows of its project, and of no other."""
    apply(FeatureStore.open(run))
    write(run, 1, 3)
    other = online_store(run.environment, run.paths.state / "elsewhere", "another_project")
    marked = store(run)
    assert "" == marked.mark()
    marked.set_mark("a")
    marked.set_mark("b")
    marked.create()
    assert "b" == marked.mark()
    marked.clear()
    assert not marked.mark()
    assert not other.mark()

    async def read() -> None:
        reader = marked.reader([depot_view(run)])
        assert [None] == await rows_of(reader, 1)
        reader.close()

    uvloop.run(read())


def test_clearing_a_project_leaves_those_whose_names_end_alike(run: Run) -> None:
    if run.environment.online_store != "redis":
        pytest.skip("each project has a file of its own")
    import redis

    apply(FeatureStore.open(run))
    write(run, 1, 3)
    project, key = feast_project(run.scope).encode(), key_writer({"depot": "int64"})([1])
    with redis.from_url(run.environment.redis) as client:
        assert client.exists(key + project)
        client.hset(key + b"other_" + project, "field", "value")
        client.set(project, "value")
        store(run).clear()
        assert {key + b"other_" + project, project} == {*client.keys()}


def test_a_store_that_lost_its_last_writes_is_written_again(run: Run) -> None:
    """It is put back as it was before, as Redis may be after a restart: nobody may use it until then."""
    before = at(run, run.as_of("feature") - timedelta(days=2))
    for each in (before, run):
        featurize(each)
        materialize(each)
    assert "" == problem_of(run)
    expected = held_as_of(run, run.as_of("feature"))
    asked = requests(run.as_of("feature"), *map(list, zip(*PAIRS, strict=True)))
    mark = store(run).mark()
    store(run).clear()
    store(run).set_mark("earlier")
    assert "put back" in problem_of(run)
    sense([run])
    assert {"losses": 1} == read_json(run.paths.online_watermark)
    materialize(run)
    assert ("", mark) == (problem_of(run), store(run).mark())
    sense([run])
    assert {"losses": 1} == read_json(run.paths.online_watermark)
    after = read_online(run, asked)
    for name, column in expected.items():
        np.testing.assert_array_equal(column, after[name], name)


@pytest.mark.parametrize("spoil", [lambda content: content[:3000], lambda _content: b"no database"])
def test_a_file_that_is_no_database_any_more_is_written_again(run: Run, spoil: Callable[[bytes], bytes]) -> None:
    """It was cut short, or something else was written over it: that is a loss, for which nobody has to delete it first."""
    if run.environment.online_store != "sqlite":
        pytest.skip("Redis has no file")
    expected = held_as_of(run, run.as_of("feature"))
    path = run.paths.state / "feast_online.db"
    whole = path.read_bytes()
    for each in path.parent.glob(f"{path.name}*"):  # with its write-ahead log, which may hold all of it
        each.unlink()
    path.write_bytes(spoil(whole))
    assert "damaged" in problem_of(run)
    sense([run])
    assert {"losses": 1} == read_json(run.paths.online_watermark)
    materialize(run)
    after = read_online(run, requests(run.as_of("feature"), *map(list, zip(*PAIRS, strict=True))))
    for name, column in expected.items():
        np.testing.assert_array_equal(column, after[name], name)


def test_making_it_again_keeps_what_it_holds(run: Run) -> None:
    """`apply` runs before every `materialize`; rows come back with their instants, to the second, in UTC."""
    apply(FeatureStore.open(run))
    feature_store = open_store(FeatureStore.open(run))
    view = next(name for name in service_spec(run.use_case).views.values() if name.startswith("depot"))
    feature_store.write_to_online_store(view, pd.DataFrame(ROWS))
    store(run).create()
    apply(FeatureStore.open(run))
    reader = open_store(FeatureStore.open(run))
    store(run).attach(reader)
    found = reader.get_online_features([f"{view}:{UPCOMING}"], {"depot": [1, 2]}).to_dict(include_event_timestamps=True)
    assert ["[]", None] == found[UPCOMING]
    assert int(SINCE.timestamp()) == found[f"{UPCOMING}__ts"][0]


PAIRS = [(sender, receiver) for sender in (0, 1, 2, 3, 99) for receiver in (0, 1, 2, 3, 99, None)]


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=1), timedelta(hours=7, seconds=1), timedelta(days=4)])
def test_what_is_read_is_what_feast_reads(run: Run, later: timedelta) -> None:
    """Every key and kind of feature, at once and later; what is missing is missing for the same reason."""
    materialize(run)
    found = read_online(run, requests(run.as_of("feature") + later, *map(list, zip(*PAIRS, strict=True))))
    assert {"f", "M", "O"} == {column.dtype.kind for column in found.values()}


def test_there_and_back_again(run: Run) -> None:
    """As of another instant and back, the store holds what it held: only what changed is written, and what is gone deleted."""
    day = run.as_of("feature")
    before = held_as_of(run, day)
    held_as_of(run, day - timedelta(days=5))
    after = held_as_of(run, day)
    for name, column in before.items():
        np.testing.assert_array_equal(column, after[name], name)


def held_as_of(run: Run, day: datetime) -> dict[str, Array]:
    featurize(at(run, day))
    assert any(materialize(at(run, day))["changed"].values())
    return read_online(at(run, day), requests(day, *map(list, zip(*PAIRS, strict=True))))


async def rows_of(reader: RowReader, *depots: int) -> list[Sequence[object] | None]:
    """The first feature of depots, as the reader has it."""
    write = key_writer({"depot": "int64"})
    return [rows and rows.at(LATER)[1] for rows in await reader.read([(0, write([depot])) for depot in depots])]


LATER = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy for a moment changes nothing."""
    monkeypatch.setattr(redis_rows, "ANSWER_SECONDS", LONGEST)
    monkeypatch.setattr(redis_rows, "CONNECT_SECONDS", LONGEST)


def depot_view(run: Run) -> StoredView:
    return next(view for view in stored_views(run.use_case) if view.name.startswith("depot"))


def write(run: Run, depot: int, parcels: int) -> None:
    """As another process would."""
    other = open_store(FeatureStore.open(run))
    rows = {**ROWS, "depot": [depot], "parcels": [parcels], UPCOMING: [None]}
    other.write_to_online_store(depot_view(run).name, pd.DataFrame(rows).astype({UPCOMING: "string[pyarrow]"}))


def test_a_reader_sees_what_others_write(run: Run) -> None:
    """Soon, though it keeps what it has read; also that there is a row now."""
    apply(FeatureStore.open(run))

    async def read() -> None:
        reader = store(run).reader([depot_view(run)])
        assert [None, None] == await rows_of(reader, 1, 2)
        for number in (3, 4):
            write(run, 1, number)
            await seen(reader, [[number, 7.0], None])
        write(run, 2, 8)
        await seen(reader, [[4, 7.0], [8, 7.0]])
        reader.close()

    async def seen(reader: RowReader, expected: list[Sequence[object] | None]) -> None:
        for _ in range(3000):  # Redis says what changed in its own time
            if expected == await rows_of(reader, 1, 2):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(await rows_of(reader, 1, 2))

    uvloop.run(read())


def test_a_store_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    elsewhere = run.environment.model_copy(update={"redis": "redis://127.0.0.1:9/0"})
    reader = online_store(elsewhere, tmp_path / "nowhere", "parcels_feed").reader([depot_view(run)])
    with pytest.raises(StoreUnavailableError):
        uvloop.run(rows_of(reader, 1))


@contextmanager
def own_redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    try:
        with redis_server() as found:
            yield found
    except NoServerError as error:
        pytest.skip(str(error))


def test_a_redis_that_does_not_answer_is_an_error_soon(
    featurized_parcels: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it would take; when it answers again, it is read again."""
    with own_redis() as (address, process):
        copy = copied(featurized_parcels, tmp_path / "copy")
        run = replace(copy, environment=Environment(online_store="redis", redis=address))
        apply(FeatureStore.open(run))
        write(run, 1, 3)

        async def read() -> None:
            reader = store(run).reader([depot_view(run)])
            assert [[3, 7.0]] == await rows_of(reader, 1)
            process.send_signal(signal.SIGSTOP)
            monkeypatch.setattr(redis_rows, "ANSWER_SECONDS", 0.1)
            with pytest.raises(StoreUnavailableError, match="cannot be read"):
                await rows_of(reader, 2)
            monkeypatch.setattr(redis_rows, "ANSWER_SECONDS", LONGEST)
            process.send_signal(signal.SIGCONT)
            assert [[3, 7.0], None] == await rows_of(reader, 1, 2)
            reader.close()

        uvloop.run(read())


def test_what_redis_lost_is_written_again(run: Run) -> None:
    """It says itself that it holds nothing, so that unchanged rows are written, too."""
    if run.environment.online_store != "redis":
        pytest.skip("a file that is lost is a test of materialize")
    before = held_as_of(run, run.as_of("feature"))
    import redis

    with redis.from_url(run.environment.redis) as client:
        client.flushall()
    assert store(run).mark() is None
    assert problem_of(run)
    materialize(run)
    after = read_online(run, requests(run.as_of("feature"), *map(list, zip(*PAIRS, strict=True))))
    for name, column in before.items():
        np.testing.assert_array_equal(column, after[name], name)
