"""Wait for something that another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LONGEST = 120.0
"""Seconds after which a test gives up waiting for a process. Nothing that works takes so long, on the busiest machine."""


def awaited(condition: Callable[[], T]) -> T:
    """The first value that is true; fails when there is none for LONGEST seconds."""
    ends = time.monotonic() + LONGEST
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return found
