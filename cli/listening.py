"""Whether a server that a command starts could listen on an address."""

from __future__ import annotations

import socket
from typing import Any


def refusal(family: socket.AddressFamily, address: Any) -> OSError | None:
    """Why nothing can listen on an address of this family; None if it can. A server that shares its port counts, too."""
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None
