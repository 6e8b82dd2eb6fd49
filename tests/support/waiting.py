"""Wait for something that another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def awaited(condition: Callable[[], T]) -> T:
    """The first value that is true; fails when there is none for long."""
    ends = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return found
