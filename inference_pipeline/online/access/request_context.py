"""Which request is being answered, for the log lines that are written meanwhile."""

from __future__ import annotations

import random
import re
from contextvars import ContextVar
from typing import NamedTuple


class RequestContext(NamedTuple):
    """The id of a request, and the name of the key with which it came; empty if it came without one."""

    request_id: str
    caller: str


CURRENT_REQUEST: ContextVar[RequestContext | None] = ContextVar("current_request", default=None)
"""None outside requests."""

_SAFE = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def request_id_of(sent: bytes | None) -> str:
    """The id that the caller sent, if it may be written to logs as it is; otherwise a new one."""
    if sent is not None and _SAFE.fullmatch(sent):
        return sent.decode()
    return f"{random.getrandbits(64):016x}"  # nobody has to be unable to guess it, and it costs less than a UUID
