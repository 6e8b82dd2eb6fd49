"""The progress of a long step: on a terminal one line that is updated, elsewhere a new line from time to time.

Every step reports its progress. Only commands that a person waits for show it; flows and tests show nothing.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO, TypeVar

Item = TypeVar("Item")
_SHOW: ContextVar[Callable[[str], None] | None] = ContextVar("show", default=None)
_PAUSE_ON_TERMINAL, _PAUSE_ELSEWHERE = 0.1, 15.0
"""Seconds between two updates."""
_START_OF_LINE = "\r\x1b[K"
"""Moves to the start of a terminal's line and empties the line."""


def report(what: str, done: int, total: int | None = None) -> None:
    """Show that `done` of `total` (None if it is unknown) have been processed."""
    show = _SHOW.get()
    if show:
        show(f"{what}: {done:,}" if total is None else f"{what}: {done:,} of {total:,}")


def counted(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield the items, and report each when the next one is requested."""
    report(what, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        report(what, done, total)


@contextmanager
def show_progress(
    name: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Show what is reported while the block runs, after `name`, on `stream` (default: stderr). `clock` returns seconds."""
    line = _Line(name, stream or sys.stderr, clock)
    token = _SHOW.set(line.show)
    try:
        yield
    finally:
        _SHOW.reset(token)
        line.clear()


class _Line:
    """The line of a terminal, or the lines of a file, on which progress is shown."""

    def __init__(self, name: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._name, self._stream, self._clock = name, stream, clock
        self._is_terminal = stream.isatty()
        self._pause = _PAUSE_ON_TERMINAL if self._is_terminal else _PAUSE_ELSEWHERE
        self._began = self._last = clock()
        if self._is_terminal:
            self._write("…")

    def show(self, text: str) -> None:
        now = self._clock()
        if now - self._last >= self._pause:
            self._last = now
            self._write(f"{text} ({now - self._began:.0f} s)")

    def clear(self) -> None:
        if self._is_terminal:
            self._stream.write(_START_OF_LINE)
            self._stream.flush()

    def _write(self, text: str) -> None:
        line = f"{self._name:<12} {text}"
        if self._is_terminal:
            line = _START_OF_LINE + line[: shutil.get_terminal_size().columns - 1]
        self._stream.write(line if self._is_terminal else f"{line}\n")
        self._stream.flush()
