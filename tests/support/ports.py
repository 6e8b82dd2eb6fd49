"""Ports for servers of tests."""

from __future__ import annotations

import errno
import random
import socket


def free_port() -> int:
    """A port that nobody has. It is none of those that the system gives to clients, of which one might take it meanwhile."""
    choice = random.SystemRandom()
    while True:
        port = choice.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
