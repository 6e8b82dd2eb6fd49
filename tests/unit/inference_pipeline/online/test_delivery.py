"""An answer that its caller never got is marked so in the log, whatever cut it off, until the caller gets it after all."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from inference_pipeline.monitor.drift import scored_window
from inference_pipeline.online import log_writer
from inference_pipeline.online.log_writer import LogWriter
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import KEY_HEADER
from inference_pipeline.online.rest import Application
from inference_pipeline.online.served import Served
from ratchet.core.clock import FixedClock
from ratchet.feature_store.online_features import OnlineFeatures
from ratchet.feature_store.stored_rows import HeldRows, RowReader
from ratchet.prediction_log.log import PredictionLog
from ratchet.prediction_log.online_log import OnlineLog
from ratchet.project.run import Run
from tests.support.champions import FixedRows, fixed_predictor, noshow_champion
from tests.support.messages import missing
from tests.support.releases import slot
from tests.support.runs import noshow_project

PATH = "/v1/models/noshow-clinic:predict"
INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}
BODY = json.dumps({"instances": [INSTANCE, INSTANCE]}).encode()
NOW = datetime(2024, 7, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return fixed_predictor(noshow_project(tmp_path_factory.mktemp("prepared")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(noshow_project(tmp_path), clock=FixedClock(NOW))


class SlowRows(FixedRows):
    """Features that are found only when somebody lets them be."""

    def __init__(self) -> None:
        self.asked, self.go_on = Event(), Event()

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        self.asked.set()
        assert await asyncio.to_thread(self.go_on.wait, 30)
        return await super().read(wanted)


class SlowLog(OnlineLog):
    """A log that is written only when somebody lets it be."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked, self.go_on = Event(), Event()

    def append(self, lines: bytes, day: date) -> None:
        self.asked.set()
        assert self.go_on.wait(30)
        super().append(lines, day)


@dataclass
class Caller:
    """One request at the level of ASGI. `leaves`: the caller has gone when its answer is ready; `breaks`: when it is sent."""

    key: str | None = None
    leaves: bool = False
    breaks: bool = False
    sent: list[Message] = field(default_factory=list)
    asked: bool = False

    async def ask(self, app: ASGIApp) -> None:
        headers = [(b"content-type", b"application/json")]
        headers += [(KEY_HEADER.lower().encode(), self.key.encode())] if self.key else []
        scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}
        await app(scope, self.receive, self.send)

    async def receive(self) -> Message:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": BODY, "more_body": False}
        if not self.leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.breaks:
            raise OSError("the connection is gone")
        self.sent.append(message)

    @property
    def answer(self) -> Any:
        return json.loads(self.sent[-1]["body"])


class Service(Application):
    """The service with one predictor, its log, and the same service with a shorter deadline."""

    def __init__(
        self, run: Run, prepared: Predictor, rows: RowReader | None = None, log: OnlineLog | None = None
    ) -> None:
        super().__init__()
        release = prepared.release
        features = OnlineFeatures(release.views, release.lookups, rows, timedelta(0)) if rows else prepared.features
        self.log = LogWriter(run.paths.online_log, (lambda _: log) if log else OnlineLog)
        made = replace(prepared, clock=run.clock, shared=replace(prepared.shared, log=self.log), features=features)
        self.served = Served([slot(run, lambda *_: made)])
        self.attach(self.served)

    def within(self, seconds: float) -> Application:
        hurried = Application(seconds)
        hurried.attach(self.served)
        return hurried


def finish(app: Service) -> None:
    """Wait until everything was written that the service had to write."""
    app.log.close()


def asked(app: Service, *callers: Caller) -> None:
    """Let callers ask one after the other, and wait until everything is written."""

    async def ask() -> None:
        for caller in callers:
            await caller.ask(app)

    try:
        asyncio.run(ask())
    finally:
        finish(app)


def undelivered(run: Run) -> list[bool]:
    """For each row of the log, whether its caller never got it."""
    log = PredictionLog.open(run).read(run.period("fresh"))
    assert log["undelivered"].to_pylist() == [
        PredictionLog.open(run).find(name)["undelivered"] for name in log["prediction_id"].to_pylist()
    ]
    return list(log["undelivered"].to_pylist())


def test_a_delivered_answer_is_not_marked(run: Run, prepared: Predictor) -> None:
    """No line beside the predictions."""
    asked(Service(run, prepared), Caller())
    assert [False, False] == undelivered(run)
    assert not [*run.paths.online_log.rglob("*.marks")]


def test_an_answer_to_a_caller_who_has_gone_is_undelivered(run: Run, prepared: Predictor) -> None:
    """All its predictions, and none of another caller's."""
    asked(Service(run, prepared), Caller(leaves=True))
    assert [True, True] == undelivered(run)
    asked(Service(run, prepared), Caller())
    assert [False, False, True, True] == sorted(undelivered(run))


def test_an_answer_that_cannot_be_sent_is_undelivered(run: Run, prepared: Predictor) -> None:
    """The server's error is its own, and is not hidden."""
    with pytest.raises(OSError, match="gone"):
        asked(Service(run, prepared), Caller(breaks=True))
    assert [True, True] == undelivered(run)


@pytest.mark.parametrize("key", [None, "visit-1"])
def test_an_answer_after_the_timeout_is_undelivered(
    run: Run, prepared: Predictor, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service answers 504 while the prediction is written to a log that was slow before: it is marked there."""
    monkeypatch.setattr(log_writer, "SLOW", 0.0)
    log, caller = SlowLog(run.paths.online_log), Caller(key=key)
    app = Service(run, prepared, log=log)

    async def ask() -> None:
        log.go_on.set()
        await Caller(key="before").ask(app)
        for _ in range(2):
            await Caller().ask(app)
        log.asked.clear()
        log.go_on.clear()
        await caller.ask(app.within(0.3))
        assert await asyncio.to_thread(log.asked.wait, 30)
        log.go_on.set()
        await everything_else()

    asyncio.run(ask())
    finish(app)
    assert 504 == caller.sent[0]["status"]
    assert [False] * 6 + [True, True] == sorted(undelivered(run))


async def everything_else() -> None:
    """Wait for the tasks that go on although nobody waits for them."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)


def test_what_is_cut_off_before_it_has_its_features_leaves_nothing(run: Run, prepared: Predictor) -> None:
    """Nothing was predicted, so that nothing is logged."""
    rows, caller = SlowRows(), Caller()
    app = Service(run, prepared, rows)

    async def ask() -> None:
        await caller.ask(app.within(0.1))
        rows.go_on.set()
        await everything_else()

    asyncio.run(ask())
    finish(app)
    assert 504 == caller.sent[0]["status"]
    assert [] == [*run.paths.online_log.rglob("*.jsonl")]


def test_what_had_not_begun_when_its_caller_was_cut_off_is_not_done(run: Run, prepared: Predictor) -> None:
    """A request that waits for another one leaves no prediction when its time is over."""
    rows, waiting = SlowRows(), Caller(key="waiting")
    app = Service(run, prepared, rows)

    async def ask() -> None:
        first = asyncio.create_task(Caller(key="first").ask(app))
        await asyncio.to_thread(rows.asked.wait, 30)
        await waiting.ask(app.within(0.05))
        rows.go_on.set()
        await first

    asyncio.run(ask())
    finish(app)
    assert 504 == waiting.sent[0]["status"]
    log = PredictionLog.open(run).read(run.period("fresh"))
    assert {"first/0": False, "first/1": False} == dict(
        zip(log["request_id"].to_pylist(), log["undelivered"].to_pylist(), strict=True)
    )


def test_a_request_that_fails_leaves_no_mark(run: Run, prepared: Predictor) -> None:
    """Nothing was logged, so that there is nothing to mark."""
    run.paths.online_log.parent.mkdir(parents=True)
    run.paths.online_log.write_text("in the way")
    caller = Caller(leaves=True)
    asked(Service(run, prepared), caller)
    assert 503 == caller.sent[0]["status"]


@pytest.mark.parametrize("cut_off", [Caller(key="visit-1", leaves=True), Caller(key="visit-1", breaks=True)])
def test_a_repeated_request_delivers_the_answer_after_all(run: Run, prepared: Predictor, cut_off: Caller) -> None:
    """It is the logged one, by another process, too; the log no longer says that it is undelivered."""
    with suppress(OSError):
        asked(Service(run, prepared), replace(cut_off))
    assert [True, True] == undelivered(run)
    again = Caller(key="visit-1")
    asked(Service(run, prepared), again)
    log = PredictionLog.open(run).read(run.period("fresh"))
    assert sorted(again.answer["prediction_ids"]) == log["prediction_id"].to_pylist()
    assert [False, False] == undelivered(run)


def marks(run: Run) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in run.paths.online_log.rglob("*.marks"))


def test_an_answer_that_was_delivered_once_stays_delivered(run: Run, prepared: Predictor) -> None:
    """Whatever happens to later repetitions; and however many there are, the log does not grow."""
    callers = [Caller(key="visit-1", leaves=leaves) for leaves in (False, True) * 3]
    asked(Service(run, prepared), *callers)
    assert [False, False] == undelivered(run)
    assert 1 == marks(run)


@dataclass
class Vandal(Caller):
    """A caller who has gone, after the folder of the log has gone, too."""

    folder: Path = Path()

    async def receive(self) -> Message:
        if self.asked:
            shutil.rmtree(self.folder)
            self.folder.write_text("in the way")
        return await super().receive()


def test_a_mark_that_cannot_be_written_is_reported(
    run: Run, prepared: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for that answer, so that the service's own log says which predictions it was."""
    caller = Vandal(leaves=True, folder=run.paths.online_log / f"date={NOW.date()}")
    asked(Service(run, prepared), caller)
    assert [] == missing(caplog.text, *caller.answer["prediction_ids"], "could not be marked")


def test_a_killed_process_leaves_half_a_mark(run: Run, prepared: Predictor) -> None:
    """It is no mark, and does not keep others from being read."""
    asked(Service(run, prepared), Caller(leaves=True), Caller(leaves=True))
    path = next(run.paths.online_log.rglob("*.marks"))
    path.write_bytes(path.read_bytes()[:-1])
    assert [False, False, True, True] == sorted(undelivered(run))


def test_monitoring_leaves_undelivered_answers_out(run: Run, prepared: Predictor) -> None:
    """Their requests were most often sent again."""
    asked(Service(run, prepared), Caller(leaves=True), Caller())
    assert 2 == len(scored_window(run, noshow_champion(run))["prediction"])
