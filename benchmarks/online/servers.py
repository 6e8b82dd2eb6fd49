"""Servers of a benchmark: each on one core with all of its processes, while the load comes from the other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.online.load import Load

ROOT = Path(__file__).parents[2]
SERVER_CORE, LOAD_CORE = 0, 1
MODEL = "nyc_taxi-simulator"
SETTLE_SECONDS, SETTLED, IDLE = 60, 4, 0.05
"""The longest time that a server gets to settle. It has if it used less than that share of a core for some seconds."""


@dataclass(frozen=True)
class Served:
    """A server, and the load that it gets.

    `command` starts it on a port, and `load` asks it there: a port, clients and seconds → what came of it.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    load: Callable[[int, int, float], Load]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT


@contextmanager
def running(served: Served) -> Iterator[tuple[int, psutil.Process]]:
    """The server on a free port, on one core, when it answers."""
    port = free_port()
    os.sched_setaffinity(0, {SERVER_CORE})
    began = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command, variables = [*served.command(port)], environment(served.environment)
    process = subprocess.Popen(command, cwd=served.folder, env=variables, **quiet)  # type: ignore[call-overload]
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        while not _answers(served, port):
            if process.poll() is not None:
                raise SystemExit(f"{served.name}: it ended with exit code {process.returncode}: {' '.join(command)}")
            time.sleep(0.05)
        say(f"<!-- {served.name}: first answer after {time.monotonic() - began:.1f} s -->")
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _answers(served: Served, port: int) -> bool:
    try:
        found = served.load(port, 1, 0.1)
    except (OSError, EOFError):
        return False
    return not found.errors and bool(found.milliseconds)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def settle(server: psutil.Process) -> None:
    """Wait until the server has finished what it does after its start, such as imports in a process of low priority."""
    for _ in range(SETTLE_SECONDS // SETTLED):
        before = cpu(server)
        time.sleep(SETTLED)
        if cpu(server) - before < IDLE * SETTLED:
            return


def family(server: psutil.Process) -> list[psutil.Process]:
    return [server, *server.children(recursive=True)]


def cpu(server: psutil.Process) -> float:
    """Seconds of CPU that the server's processes have used."""
    times = [process.cpu_times() for process in family(server)]
    return sum(each.user + each.system for each in times)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "BENTOML_DO_NOT_TRACK": "True", **more}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
