"""The progress of a long step: what is counted, how far it is, and whom it is shown to.

Every step reports its progress. Commands that a person waits for show it on the terminal, flows in Prefect's UI, tests nowhere.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TextIO, TypeVar

Item = TypeVar("Item")
_PAUSE_ON_TERMINAL, _PAUSE_ELSEWHERE = 0.1, 15.0
"""Seconds between two updates."""
_FIRST_ESTIMATE = 2.0
"""Seconds that something must have been counted for before its pace says how long the rest takes."""
_START_OF_LINE = "\r\x1b[K"
"""Moves to the start of a terminal's line and empties the line."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` (None if it is unknown) have been processed of what is counted."""

    what: str
    done: int
    total: int | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.done:,}" + ("" if self.total is None else f" of {self.total:,}")


Show = Callable[[Progress], None]
_SHOW: ContextVar[Show | None] = ContextVar("show", default=None)


def report(what: str, done: int, total: int | None = None) -> None:
    """Show that `done` of `total` (None if it is unknown) have been processed."""
    show = _SHOW.get()
    if show:
        show(Progress(what, done, total))


def counted(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield the items, and report each when the next one is requested."""
    report(what, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        report(what, done, total)


@contextmanager
def show_progress(show: Show) -> Iterator[None]:
    """Call `show` with all that is reported while the block runs. It is called often, and must not raise or wait."""
    token = _SHOW.set(show)
    try:
        yield
    finally:
        _SHOW.reset(token)


@contextmanager
def show_line(name: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Show what is reported while the block runs, after `name`, on `stream` (default: stderr): on a terminal one line that is
    updated, elsewhere a new line from time to time. `clock` returns seconds."""
    line = _Line(name, stream or sys.stderr, clock)
    try:
        with show_progress(line.show):
            yield
    finally:
        line.clear()


class _Line:
    """The line of a terminal, or the lines of a file, on which progress is shown."""

    def __init__(self, name: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._name, self._stream, self._clock = name, stream, clock
        self._is_terminal = stream.isatty()
        self._pause = _PAUSE_ON_TERMINAL if self._is_terminal else _PAUSE_ELSEWHERE
        self._began = self._last = clock()
        self._pace: _Pace | None = None
        if self._is_terminal:
            self._write("…")

    def show(self, progress: Progress) -> None:
        now = self._clock()
        if self._pace is None or not self._pace.is_of(progress):
            self._pace = _Pace(progress, now)
        if now - self._last >= self._pause:
            self._last = now
            self._write(f"{progress}{_time_left(self._pace.seconds_left(progress, now))} ({now - self._began:.0f} s)")

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


@dataclass(frozen=True)
class _Pace:
    """When a count began, and with what. A step may count several things, each at a pace of its own."""

    first: Progress
    began: float

    def is_of(self, progress: Progress) -> bool:
        """Whether this progress continues the count."""
        same = (self.first.what, self.first.total) == (progress.what, progress.total)
        return same and progress.done >= self.first.done

    def seconds_left(self, progress: Progress, now: float) -> float | None:
        """The seconds that the rest takes at the pace so far; None while the pace or the total is not known."""
        done, seconds = progress.done - self.first.done, now - self.began
        if progress.total is None or not done or seconds < _FIRST_ESTIMATE:
            return None
        return (progress.total - progress.done) * seconds / done


def _time_left(seconds: float | None) -> str:
    """`, 40 s left`, in minutes from two minutes on and in hours from two hours on, or an empty text if it is unknown."""
    if seconds is None:
        return ""
    minutes = seconds / 60
    if minutes < 2:
        return f", {seconds:.0f} s left"
    return f", {minutes:.0f} min left" if minutes < 120 else f", {minutes / 60:.0f} h left"
