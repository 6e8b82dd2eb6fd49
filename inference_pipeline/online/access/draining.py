"""A process that ends cuts no request: who has connected is answered, and who comes later is refused at once.

The listening socket is shared by all processes of the service, and stays open until the last one has ended. One that ends
while others accept just stops accepting. The last one lets the socket refuse: callers would go on to connect to it in vain
otherwise, and lose their connection when it is closed.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import socket
import struct
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn

SETTLE_SECONDS = 0.05
"""For this time connections that have begun are made, before they are accepted and the socket refuses new ones."""
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
"""SO_ATTACH_FILTER and SO_DETACH_FILTER of Linux, which Python does not name."""
_NO_SYN = (
    (0x30, 0, 0, 13),  # load the flags of the TCP header
    (0x45, 0, 1, 0x02),  # is it a SYN, the first packet of a connection?
    (0x06, 0, 0, 0),  # then drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # or let it through
)
"""A classic BPF program: https://docs.kernel.org/networking/filter.html."""


def drain_at_the_end() -> None:
    """Let the uvicorn servers of this process, which BentoML starts, drain before they shut down."""
    startup, shutdown = uvicorn.Server.startup, uvicorn.Server.shutdown

    async def started(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        for each in sockets or []:
            if each.family != socket.AF_UNIX:
                accept_beside_others(each)
        await startup(self, sockets)

    async def drained(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        try:
            await drain(self)
        finally:
            await shutdown(self, sockets)

    uvicorn.Server.startup = started  # type: ignore[method-assign]
    uvicorn.Server.shutdown = drained  # type: ignore[method-assign]


async def drain(server: uvicorn.Server) -> None:
    """Stop accepting. If no other process accepts, take who waits, and let the sockets refuse everybody else."""
    listening = [_copy(each) for one in server.servers for each in one.sockets if each.family != socket.AF_UNIX]
    for one in server.servers:
        one.close()
    for each in listening:
        with each:
            if is_last(each):
                with suppress(OSError):  # a sandbox without filters: who connects in the next moment may be cut
                    hold_new(each)
                await asyncio.sleep(SETTLE_SECONDS)
                waiting = _waiting(each)
                refuse_new(each)
                for connection in waiting:
                    await _serve(server, connection)


def _copy(listening: Any) -> socket.socket:
    """Another descriptor of a listening socket, which stays open when asyncio closes its own."""
    copy = listening.dup()
    copy.setblocking(False)
    return copy  # type: ignore[no-any-return] # asyncio's wrapper has no type for it


def accept_beside_others(listening: socket.socket) -> None:
    """Share a lock of the socket with all processes that accept from it. Waits for one that lets it refuse at this moment."""
    fcntl.lockf(listening, fcntl.LOCK_SH)


def is_last(listening: socket.socket) -> bool:
    """Whether no other process accepts from the socket. Then none begins to, either, before this one closes it."""
    fcntl.lockf(listening, fcntl.LOCK_UN)
    with suppress(BlockingIOError):
        fcntl.lockf(listening, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def hold_new(listening: socket.socket) -> None:
    """Let who comes now wait: the first packet is dropped, and sent again after a second. Who has begun to connect goes on.

    A queue of no length would not do: of two who connect at once, one believes to be connected, and is cut.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _NO_SYN)
    program = ctypes.create_string_buffer(code, len(code))
    listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", len(_NO_SYN), ctypes.addressof(program)))


def refuse_new(listening: socket.socket) -> None:
    """Refuse who waits and who comes, until a process that is started again listens to the socket."""
    listening.shutdown(socket.SHUT_RD)
    with suppress(OSError):  # there was none
        listening.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def _waiting(listening: socket.socket) -> list[socket.socket]:
    """The connections that nobody has accepted yet."""
    found = []
    with suppress(OSError):  # there are no more
        while True:
            found.append(listening.accept()[0])
    return found


async def _serve(server: uvicorn.Server, connection: socket.socket) -> None:
    config = server.config
    kind: Any = config.http_protocol_class
    protocol = partial(kind, config=config, server_state=server.server_state, app_state=server.lifespan.state)
    await asyncio.get_running_loop().connect_accepted_socket(protocol, connection, ssl=config.ssl)
