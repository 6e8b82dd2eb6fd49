"""A request with a key of the caller's is answered once: whoever repeats it gets the same answer, and it is logged once."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from inference_pipeline.online import log_writer
from inference_pipeline.online.arms import Arms
from inference_pipeline.online.caller_keys import MAX_KEY
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import KEY_HEADER
from inference_pipeline.online.scorer import Scorer, UncompiledModel
from inference_pipeline.online.shared import Shared
from ratchet.core.clock import FixedClock
from ratchet.core.errors import StoreError, StoreUnavailableError
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.schema import keyed_ids
from ratchet.project.run import Run
from tests.support.champions import fixed_predictor
from tests.support.killing import in_child
from tests.support.messages import missing
from tests.support.models import noshow_baseline, noshow_contract
from tests.support.releases import asked, client_of, slot
from tests.support.runs import noshow_project

PATH = "/v1/models/noshow-clinic:predict"
INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}
BODY = {"instances": [{**INSTANCE, "booked_days_ahead": days} for days in (3, 12, 29)]}
IDS = ["visit-1/0", "visit-1/1", "visit-1/2"]
NOON = datetime(2024, 7, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return fixed_predictor(noshow_project(tmp_path_factory.mktemp("prepared")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return project(tmp_path)


def project(folder: Path) -> Run:
    return replace(noshow_project(folder), clock=FixedClock(NOON))


@pytest.fixture
def client(run: Run, prepared: Predictor) -> Iterator[TestClient]:
    with started(run, prepared) as client:
        yield client


def started(run: Run, prepared: Predictor, champion: Scorer | None = None) -> TestClient:
    """The service of a new process, which knows of an earlier one only what is in files."""
    return client_of(slot(run, lambda *_: predictor(run, prepared, champion)))


def predictor(run: Run, prepared: Predictor, champion: Scorer | None = None) -> Predictor:
    return replace(prepared, clock=run.clock, shared=Shared.of(run), arms=Arms(champion) if champion else prepared.arms)


def version_7(run: Run, prepared: Predictor) -> Scorer:
    """Another model."""
    released = prepared.release.champion.model_copy(update={"version": 7})
    return Scorer(released, UncompiledModel(noshow_baseline(noshow_contract(run)), 1), run.use_case)


def ask(client: TestClient, key: str = "visit-1", body: Any = BODY) -> Response:
    return client.post(PATH, json=body, headers={KEY_HEADER: key})


def logged(run: Run) -> list[dict[str, Any]]:
    """Every whole row of the log, in the order of the instances."""
    lines = (line for path in run.paths.online_log.rglob("*.jsonl") for line in path.read_bytes().splitlines(True))
    rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return sorted(rows, key=lambda row: str(row["request_id"]))


def test_a_repeated_request_gets_the_same_answer(client: TestClient, run: Run) -> None:
    """It is logged once, and the repeated answer says that it was given before."""
    first, again = ask(client), ask(client)
    assert (200, 200) == (first.status_code, again.status_code)
    assert first.json() == again.json()
    assert [None, "true"] == [each.headers.get("Idempotent-Replayed") for each in (first, again)]
    assert IDS == [row["request_id"] for row in logged(run)]


def test_ids_of_predictions_follow_from_the_key(client: TestClient, run: Run) -> None:
    """Each instance has its own, and the log finds it by that."""
    ids = ask(client).json()["prediction_ids"]
    assert ids == keyed_ids(NOON, "noshow-clinic", IDS)
    assert IDS == [PredictionLog.open(run).find(name)["request_id"] for name in ids]
    assert not {*ids} & {*keyed_ids(NOON, "parcels-feed", IDS)}


def test_requests_without_a_key_are_each_answered(client: TestClient, run: Run) -> None:
    """The same body twice is two requests."""
    first, again = (client.post(PATH, json=BODY).json()["prediction_ids"] for _ in range(2))
    assert not {*first} & {*again}
    assert [None] * 6 == [row["request_id"] for row in logged(run)]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{**each, "reminder_at": "2024-07-20T00:00:00Z"} for each in BODY["instances"]]},
        {"instances": [dict(reversed(each.items())) for each in BODY["instances"]]},
    ],
)
def test_the_same_request_may_be_written_otherwise(client: TestClient, body: Any) -> None:
    """The order of fields and the offset of a time are no part of a request."""
    assert ask(client).json() == ask(client, body=body).json()


def test_a_key_may_be_quoted(client: TestClient) -> None:
    """As the standard for structured headers writes texts."""
    assert ask(client).json() == ask(client, '"visit-1"').json()


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [*BODY["instances"][:2], {**INSTANCE, "booked_days_ahead": 28}]},
        {"instances": BODY["instances"][:2]},
        {"instances": [*BODY["instances"], INSTANCE]},
        {"instances": BODY["instances"][::-1]},
    ],
)
def test_a_key_that_another_request_had_is_refused(client: TestClient, run: Run, body: Any) -> None:
    """The header is named, with what to do, and nothing is logged; the first request keeps its answer."""
    first = ask(client)
    answer = ask(client, body=body)
    assert 409 == answer.status_code
    assert [] == missing(answer.json()["error"], KEY_HEADER, "visit-1", "2024-07-20T12:00", "own")
    assert first.json() == ask(client).json()
    assert 3 == len(logged(run))


@pytest.mark.parametrize("key", ["", " ", '"', '""', '"a', 'a"', "a b", "a/b", "a,b", "a\tb", "x" * (MAX_KEY + 1), "é"])
def test_a_bad_key_is_refused(client: TestClient, run: Run, key: str) -> None:
    """Of other characters, or too long: 422, and nothing is predicted."""
    answer = client.post(PATH, json=BODY, headers={KEY_HEADER: key.encode()})
    assert 422 == answer.status_code
    assert KEY_HEADER in answer.json()["error"]
    assert not logged(run)


def test_a_key_is_sent_once(client: TestClient) -> None:
    """Of two keys none is taken."""
    assert 422 == client.post(PATH, json=BODY, headers=[(KEY_HEADER, "a"), (KEY_HEADER, "a")]).status_code


@pytest.mark.parametrize("key", ["a", "x" * MAX_KEY, "2f1c9e0a-1b7e-4c8e-9b53-0d3f6f4c2a11", "trip:2024.07_20-A"])
def test_usual_ids_are_keys(client: TestClient, key: str) -> None:
    """Such as a UUID, or the name that the caller's own database has for a row."""
    assert ask(client, key).json() == ask(client, key).json()


def test_an_invalid_request_takes_no_key(client: TestClient) -> None:
    """It may be sent again with the same key when it was corrected."""
    assert 422 == ask(client, body={"instances": [{}]}).status_code
    assert 200 == ask(client).status_code


def test_the_logged_answer_outlives_the_process_the_day_and_the_model(run: Run, prepared: Predictor) -> None:
    """Another version would say something else now, and is not asked."""
    first = ask(started(run, prepared)).json()
    later = replace(run, clock=FixedClock(datetime(2024, 7, 23, 1, tzinfo=UTC)))
    client = started(later, prepared, version_7(run, prepared))
    assert first == ask(client).json()
    other = ask(client, "visit-2").json()
    assert [1, 7] == [each["details"][0]["model_version"] for each in (first, other)]
    assert first["predictions"] != other["predictions"]


def test_a_day_that_is_no_longer_kept_is_forgotten(run: Run, prepared: Predictor) -> None:
    """The index keeps no key of an answer that the log has no more, so that it does not grow for ever."""
    ask(started(run, prepared))
    (day,) = run.paths.online_log.glob("date=*")
    for path in day.iterdir():
        path.unlink()
    day.rmdir()
    later = replace(run, clock=FixedClock(datetime(2024, 7, 23, 1, tzinfo=UTC)))
    client = started(later, prepared)
    for key in ("visit-2", "visit-3"):
        ask(client, key)
    with closing(sqlite3.connect(run.paths.online_log / "answered_keys.db")) as index:
        assert [("visit-2",), ("visit-3",)] == index.execute("SELECT key FROM answered ORDER BY key").fetchall()
    assert ask(client).json()["prediction_ids"][0].startswith("2024-07-23")


def test_two_services_answer_once(run: Run, prepared: Predictor) -> None:
    """Though both are asked at the same time, over and over: one of them answers, and the other repeats that."""
    with started(run, prepared) as one, started(run, prepared) as other, ThreadPoolExecutor(8) as callers:
        clients = [one, other]
        answers = [*callers.map(lambda number: ask(clients[number % 2], f"visit-{number // 8}").json(), range(32))]
    assert 4 == len({json.dumps(answer, sort_keys=True) for answer in answers})
    assert sorted(f"visit-{visit}/{row}" for visit in range(4) for row in range(3)) == [
        row["request_id"] for row in logged(run)
    ]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders `before` and `after` of services that were killed before and after the log was written, unanswered."""
    folder = tmp_path_factory.mktemp("killed")
    process = multiprocessing.get_context("spawn").Process(target=answer_and_die, args=(folder,))
    process.start()
    process.join()
    assert 0 == process.exitcode
    return folder


def answer_and_die(folder: Path) -> None:
    """In a process of its own, because a process that has threads must not fork."""
    prepared = fixed_predictor(project(folder / "prepared"))
    for name, die_at in (("before", 1), ("after", 0)):
        assert -signal.SIGKILL == in_child(partial(_answer_and_die, prepared), folder / name, die_at)


def _answer_and_die(prepared: Predictor, folder: Path) -> None:
    requests = asked(prepared, json.dumps(BODY).encode())
    asyncio.run(predictor(project(folder), prepared).predict(requests, "visit-1"))
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_before_the_log_it_was_not_answered(run: Run, prepared: Predictor, killed: Path) -> None:
    """The index leads to nothing then, and the repeated request is answered."""
    shutil.copytree(project(killed / "before").paths.online_log, run.paths.online_log)
    assert (run.paths.online_log / "answered_keys.db").exists()
    assert not logged(run)
    assert ask(started(run, prepared)).status_code == 200
    assert IDS == [row["request_id"] for row in logged(run)]


def test_killed_after_the_log_the_answer_is_the_logged_one(run: Run, prepared: Predictor, killed: Path) -> None:
    """The caller who never got it gets it from the next process, though another version serves there."""
    shutil.copytree(project(killed / "after").paths.online_log, run.paths.online_log)
    before = logged(run)
    answer = ask(started(run, prepared, version_7(run, prepared)))
    assert [row["prediction"] for row in before] == answer.json()["predictions"]
    assert "true" == answer.headers["Idempotent-Replayed"]
    assert before == logged(run)


@pytest.mark.parametrize("share", [0.01, 0.4, 0.7, 0.999])
def test_killed_within_the_log_nothing_is_logged_twice(
    run: Run, prepared: Predictor, killed: Path, share: float
) -> None:
    """What was written in part was never answered: it is replaced by the answer that the caller gets."""
    shutil.copytree(project(killed / "after").paths.online_log, run.paths.online_log)
    (segment,) = run.paths.online_log.rglob("*.jsonl")
    os.truncate(segment, int(segment.stat().st_size * share))
    answer = ask(started(run, prepared)).json()
    assert IDS == [row["request_id"] for row in logged(run)]
    assert answer["predictions"] == [row["prediction"] for row in logged(run)]


def test_an_index_that_cannot_be_used_is_named(client: TestClient, run: Run) -> None:
    """With 503, because nobody knows whether the request was answered; requests without a key go on."""
    run.paths.online_log.mkdir(parents=True)
    (run.paths.online_log / "answered_keys.db").write_text("no database " * 100)
    answer = ask(client)
    assert 503 == answer.status_code
    assert [] == missing(answer.json()["error"], "index", str(run.paths.online_log))
    assert 200 == client.post(PATH, json=BODY).status_code


def test_a_damaged_line_is_an_error(client: TestClient, run: Run) -> None:
    """What was logged and cannot be read is not answered anew."""
    ask(client)
    (segment,) = run.paths.online_log.rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"time"', b'"time', 1))
    assert 500 == ask(client).status_code
    with pytest.raises(StoreError, match="cannot be read"):
        PredictionLog.open(run).find(keyed_ids(NOON, "noshow-clinic", IDS)[0])


def test_whose_turn_does_not_come_is_told_in_time(
    run: Run, prepared: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is predicted or logged for it; whoever was first is answered, and then the next one can be."""
    monkeypatch.setattr(log_writer, "MOST_SECONDS", 0.05)
    served = predictor(run, prepared)
    inputs = asked(served, json.dumps(BODY).encode())

    async def both() -> None:
        over = asyncio.Event()

        async def first() -> None:
            await over.wait()

        working = await served.shared.log.in_turn(first)
        with pytest.raises(StoreUnavailableError, match="nothing was done for this one"):
            await served.predict(inputs, "visit-1")
        assert not logged(run)
        over.set()
        await working
        await served.predict(inputs, "visit-1")

    asyncio.run(both())
    served.shared.log.close()
    assert IDS == [row["request_id"] for row in logged(run)]
