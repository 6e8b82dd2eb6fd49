"""A listening socket that is about to close: who has connected is kept, who comes later waits, and is refused."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from inference_pipeline.online.access.draining import accept_beside_others, hold_new, is_last, refuse_new
from tests.support.checkout import ROOT

HOSTS = ["127.0.0.1", "::1"]
OTHER = """
import socket, sys
from inference_pipeline.online.access.draining import accept_beside_others
listening = socket.socket(fileno=int(sys.argv[1]))
accept_beside_others(listening)
print("accepts", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=HOSTS)
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((request.param, 0))
        except OSError:
            pytest.skip(f"this machine has no address {request.param}")
        listening.listen()
        listening.setblocking(False)
        yield listening


def connect(listening: socket.socket, seconds: float = 10) -> socket.socket:
    return socket.create_connection(listening.getsockname()[:2], timeout=seconds)


def test_who_has_connected_is_kept_and_who_comes_later_is_refused(listening: socket.socket) -> None:
    """Between the two, no connection is made that nobody would accept."""
    with connect(listening) as early:
        hold_new(listening)
        with pytest.raises(TimeoutError):
            connect(listening, 0.2)
        accepted, _ = listening.accept()
        with accepted:
            with pytest.raises(BlockingIOError):
                listening.accept()
            refuse_new(listening)
            with pytest.raises(ConnectionRefusedError):
                connect(listening)
            early.sendall(b"still here")
            assert b"still here" == accepted.makefile("rb").read(10)


def test_a_process_that_is_started_again_listens(listening: socket.socket) -> None:
    hold_new(listening)
    refuse_new(listening)
    listening.listen()
    with connect(listening):
        listening.accept()[0].close()


def test_only_the_last_process_that_accepts_is_the_last(listening: socket.socket) -> None:
    accept_beside_others(listening)
    with accepting(listening):
        assert not is_last(listening)
        accept_beside_others(listening)
    assert is_last(listening)


@contextmanager
def accepting(listening: socket.socket) -> Iterator[None]:
    """Another process accepts while the block lasts."""
    command = [sys.executable, "-c", OTHER, str(listening.fileno())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, pass_fds=[listening.fileno()], **pipes) as other:  # type: ignore[call-overload]
        assert b"accepts\n" == other.stdout.readline()
        yield
        other.communicate()
