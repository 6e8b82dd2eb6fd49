"""What callers notice when the service ends, or when one of its processes is killed."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import BinaryIO
from urllib.parse import urlsplit

import psutil
import pytest

from inference_pipeline.online.release_folder import ReleaseFolder
from ratchet.core.clock import Period, SystemClock
from ratchet.prediction_log.log import PredictionLog
from ratchet.project.run import Run
from tests.support.registry import copied
from tests.support.serving import Server, running
from tests.support.waiting import LONGEST, awaited

INSTANCE = {"patient": "p3", "clinic": "north", "booked_days_ahead": 12, "reminder_at": "2024-07-20T09:30:00+09:30"}
BODY = json.dumps({"instances": [INSTANCE]}).encode()
CLIENTS = 8


@pytest.fixture
def server(prepared_to_serve: Run, tmp_path: Path) -> Iterator[Server]:
    """The service with two processes that answer."""
    with running(copied(prepared_to_serve, tmp_path / "project"), RATCHET_WORKERS="2") as server:
        yield server


@dataclass
class Callers:
    """Half of them send one request after the other over a connection that they keep, the others each over its own."""

    server: Server
    ids: list[str] = field(default_factory=list)
    """Of the predictions that were answered."""
    others: Counter[str] = field(default_factory=Counter)
    """Other answers, and connections that were cut."""
    over: Event = field(default_factory=Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While the block runs, and until nobody can connect or it is over."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            asking = [clients.submit(self._ask, keeps=number % 2 == 0) for number in range(CLIENTS)]
            try:
                awaited(lambda: len(self.ids) > 200)
                yield
            finally:
                self.over.set()
        for each in asking:
            each.result()

    def _ask(self, *, keeps: bool) -> None:
        address = urlsplit(str(self.server.client.base_url))
        while not self.over.is_set():
            try:
                connection = socket.create_connection((address.hostname, address.port), timeout=LONGEST)
            except ConnectionRefusedError:
                return
            try:
                with connection:
                    self._ask_over(connection, keeps=keeps)
            except OSError:
                self.others["cut"] += 1

    def _ask_over(self, connection: socket.socket, *, keeps: bool) -> None:
        head = f"POST {self.server.model}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n"
        head += "Content-Type: application/json\r\n" + ("" if keeps else "Connection: close\r\n")
        with connection.makefile("rb") as answers:
            while not self.over.is_set():
                connection.sendall(head.encode() + b"\r\n" + BODY)
                ends = self._take_answer(answers)
                if not keeps or ends:
                    return

    def _take_answer(self, answers: BinaryIO) -> bool:
        """Whether the service says that it closes the connection now."""
        lines = []
        while (line := answers.readline()) != b"\r\n":
            if not line.endswith(b"\n"):
                raise ConnectionAbortedError
            lines.append(line.strip().lower())
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        content = answers.read(length)
        if len(content) < length:  # the process ended between the head and the body
            raise ConnectionAbortedError
        self._take(lines[0], content)
        return b"connection: close" in lines

    def _take(self, status: bytes, content: bytes) -> None:
        if status.startswith(b"http/1.1 200"):
            self.ids += json.loads(content)["prediction_ids"]
        else:
            self.others[content.decode()] += 1


def logged(run: Run) -> Counter[str]:
    now = SystemClock().now()
    day = Period(now - timedelta(days=1), now + timedelta(days=1))
    return Counter(PredictionLog.open(run).read(day)["prediction_id"].to_pylist())


def workers(server: Server) -> list[psutil.Process]:
    """The processes that answer."""
    return [each for each in _of_bentoml(server) if "loader" not in _line(each)]


def loaders(server: Server) -> list[psutil.Process]:
    return [each for each in _of_bentoml(server) if "loader" in _line(each)]


def _of_bentoml(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [each for each in children if "_bentoml_impl.worker.service" in _line(each)]


def _line(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):  # it has ended
        return process.cmdline()
    return []


def test_no_request_is_cut_at_the_end(server: Server) -> None:
    """Who connected is answered; everybody else is refused at once, and not when the last process has ended."""
    callers = Callers(server)
    with callers.asking():
        server.process.send_signal(signal.SIGTERM)
        assert 0 == server.process.wait(LONGEST)
    assert not callers.others
    assert {*callers.ids} <= {*logged(server.run)}


def test_a_process_that_is_killed_takes_only_its_own_requests(server: Server) -> None:
    """Others go on, it is started again, and every answer is in the log, once."""
    callers = Callers(server)
    with callers.asking():
        before = workers(server)
        assert 2 == len(before)
        before[0].kill()
        awaited(lambda: 2 == len(workers(server)) and before[0] not in workers(server))
        answered = len(callers.ids)
        awaited(lambda: len(callers.ids) > answered + 200)
    assert {*callers.others} <= {"cut"}
    assert callers.others["cut"] <= CLIENTS
    found = logged(server.run)
    assert {1} == {found[each] for each in callers.ids}


def test_a_process_that_is_ended_alone_takes_no_request(server: Server) -> None:
    """By a person, or by a system that is short of memory. The others go on, and it is started again."""
    callers = Callers(server)
    with callers.asking():
        before = workers(server)[0]
        before.terminate()
        awaited(lambda: 2 == len(workers(server)) and before not in workers(server))
        answered = len(callers.ids)
        awaited(lambda: len(callers.ids) > answered + 200)
    assert not callers.others
    assert {*callers.ids} <= {*logged(server.run)}


def test_a_loader_that_is_killed_takes_no_request(server: Server) -> None:
    """Workers go on with what they have, and it is started again, and says what serves."""
    said, callers = ReleaseFolder.of(server.run), Callers(server)
    with callers.asking():
        (before,) = loaders(server)
        before.kill()
        awaited(lambda: [before] != loaders(server) != [])
        again = said.said_at()
        awaited(lambda: said.said_at() != again)
        answered = len(callers.ids)
        awaited(lambda: len(callers.ids) > answered + 200)
    assert not callers.others
