"""A real Redis server of its own, on a free port, without files."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.ports import free_port

_START_SECONDS = 30


class NoServerError(Exception):
    """No server can be started on this machine."""


@contextmanager
def redis_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of an empty database, and the server's process, while the block runs. Raises NoServerError."""
    program = shutil.which("redis-server")
    if program is None:
        raise NoServerError("Redis is not installed")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(port)
            yield f"redis://127.0.0.1:{port}/0", server
        finally:
            server.kill()


def _wait(port: int) -> None:
    """Wait until the server answers."""
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(7):
                return
        time.sleep(0.02)
    raise TimeoutError("Redis did not start")
