"""A process that ends cuts no request: who has connected is answered, and who comes later is refused at once.

The listening socket is shared by all processes of the service, and stays open until the last one has ended. Without this,
callers would go on to connect to it in vain, and lose their connection when it is closed.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn

SETTLE_SECONDS = 0.05
"""For this time connections that wait are accepted, and all processes stop accepting, before the socket refuses new ones."""


def drain_at_the_end() -> None:
    """Let the uvicorn servers of this process, which BentoML starts, drain before they shut down."""
    shutdown = uvicorn.Server.shutdown

    async def drained(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        await drain(self)
        await shutdown(self, sockets)

    uvicorn.Server.shutdown = drained  # type: ignore[method-assign]


async def drain(server: uvicorn.Server) -> None:
    """Accept who waits, and let the sockets of this server refuse everybody else."""
    listening = [_copy(each) for one in server.servers for each in one.sockets if each.family != socket.AF_UNIX]
    for each in listening:
        each.listen(0)  # who comes now is not accepted, but waits for the refusal below
    await asyncio.sleep(SETTLE_SECONDS)
    for one in server.servers:
        one.close()
    await asyncio.sleep(SETTLE_SECONDS)  # until other processes do not accept either
    for each in listening:
        waiting = _waiting(each)
        _refuse_new(each)
        for connection in waiting:
            await _serve(server, connection)


def _copy(listening: Any) -> socket.socket:
    """Another descriptor of a listening socket, which stays open when asyncio closes its own."""
    copy = listening.dup()
    copy.setblocking(False)
    return copy  # type: ignore[no-any-return] # asyncio's wrapper has no type for it


def _waiting(listening: socket.socket) -> list[socket.socket]:
    """The connections that nobody has accepted yet."""
    found = []
    while True:
        try:
            found.append(listening.accept()[0])
        except OSError:  # there is none, or another process has refused them
            return found


def _refuse_new(listening: socket.socket) -> None:
    with listening, suppress(OSError):  # another process was faster: the socket is shut already
        listening.shutdown(socket.SHUT_RD)


async def _serve(server: uvicorn.Server, connection: socket.socket) -> None:
    config = server.config
    kind: Any = config.http_protocol_class
    protocol = partial(kind, config=config, server_state=server.server_state, app_state=server.lifespan.state)
    await asyncio.get_running_loop().connect_accepted_socket(protocol, connection, ssl=config.ssl)
