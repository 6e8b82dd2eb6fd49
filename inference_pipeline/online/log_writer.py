"""The way to the prediction log, which waits for no slow disk.

A line is written at once: that takes some microseconds, and to wait for a thread takes ten times as long. But if the disk is
slow, a bounded queue is used for a while, which a thread empties. One slow write does not show that: the process may just have
had to wait for a processor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from ratchet.core.errors import StoreError, StoreUnavailableError
from ratchet.prediction_log.answered_keys import AnsweredKeys
from ratchet.prediction_log.online_lines import Row, encoded
from ratchet.prediction_log.online_log import OnlineLog

MOST_BYTES = 16 << 20
"""What may wait. More is refused: the disk does not keep up."""
MOST_SECONDS = 1.5
"""For so long a request with a key waits for its turn: less than the deadline of an answer."""
SLOW, WHILE = 0.02, 60.0
"""Seconds from which a write is slow, and for which a thread writes after two of them, one after the other."""
logger = logging.getLogger(__name__)
T = TypeVar("T")
_Entry = tuple[date, bytes, "asyncio.Future[None]"]


@dataclass(frozen=True)
class Answered:
    """A caller's key while no other request with a key is answered. `rows` are those of its answer, None if it has none yet."""

    rows: Sequence[Row] | None
    append: Callable[[Sequence[Row], date], Awaitable[None]]
    """Log the rows of its answer, and remember where they are."""


class LogWriter:
    """Writes rows in the order in which they came. While the thread writes some, others gather, and are written together.

    Answers to callers' keys have a segment of their own: only its thread writes to it, and remembers where they are.
    """

    def __init__(
        self, folder: Path, open_log: Callable[[Path], OnlineLog] = OnlineLog, *, serves_unlogged: bool = False
    ) -> None:
        self._serves_unlogged = serves_unlogged
        self._log, self._keyed = open_log(folder), open_log(folder)
        self._keys = AnsweredKeys(self._keyed)
        self._writer, self._keeper = (ThreadPoolExecutor(1, name) for name in ("prediction-log", "answered-keys"))
        self._turn = asyncio.Lock()
        self._waiting: list[_Entry] = []
        self._bytes = 0
        self._is_writing = False
        self._was_slow = False
        self._is_slow_until = 0.0
        self.problem = ""
        """Why the last lines could not be written; empty if they could."""
        self.lost = 0
        """Rows that were served without being logged."""

    async def append(self, rows: Sequence[Row], day: date) -> None:
        """Return when the operating system has the rows.

        If it does not take them, raises StoreUnavailableError, or counts them as `lost` if they are served all the same. If
        the caller is gone meanwhile, as by a timeout, they are marked as undelivered.
        """
        try:
            await self._append(rows, day)
        except StoreUnavailableError:
            if not self._serves_unlogged:
                raise
            self.lost += len(rows)

    async def _append(self, rows: Sequence[Row], day: date) -> None:
        if not self._is_writing and time.monotonic() >= self._is_slow_until:
            self._write(encoded(rows), day)
            return
        try:
            await asyncio.shield(self._queued(encoded(rows), day))
        except asyncio.CancelledError:
            self.mark_undelivered([row["prediction_id"] for row in rows])
            raise

    async def in_turn(self, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Begin work with a caller's key when no other such work goes on in this process. Once begun, it is not cancelled.

        Raises StoreUnavailableError if its turn does not come in time: nothing is done for a caller who is about to give up.
        """
        try:
            async with asyncio.timeout(MOST_SECONDS):
                await self._turn.acquire()
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"other requests with a key have waited for {MOST_SECONDS:g} seconds, and nothing was done for this one",
                subject=str(self._keyed.folder),
                remedy="Send it again later; if this goes on, start more processes (RATCHET_WORKERS)",
            ) from error
        begun = asyncio.ensure_future(work())
        begun.add_done_callback(lambda _: self._turn.release())
        return begun

    @asynccontextmanager
    async def answered(self, key: str) -> AsyncIterator[Answered]:
        """The answer to a caller's key, in turn. While the block runs, no process answers another request with a key.

        Raises StoreUnavailableError.
        """
        loop, alone = asyncio.get_running_loop(), self._keys.alone()
        await loop.run_in_executor(self._keeper, alone.__enter__)
        try:
            rows = await loop.run_in_executor(self._keeper, self._keys.find, key)
            yield Answered(rows, lambda rows, day: self._append_with_key(key, rows, day))
        finally:
            await loop.run_in_executor(self._keeper, alone.__exit__, None, None, None)

    def mark_undelivered(self, prediction_ids: Sequence[str]) -> None:
        """Note, when the thread has time, that the caller never got an answer."""
        self._writer.submit(self._mark, self._keyed.mark_undelivered, prediction_ids)

    def mark_delivered(self, prediction_ids: Sequence[str]) -> None:
        """Note that an answer that was given again reached its caller."""
        self._writer.submit(self._mark, self._keyed.mark_delivered, prediction_ids)

    def close(self) -> None:
        """Write what is waiting, and stop."""
        self._writer.shutdown()
        self._keeper.shutdown()
        for log in (self._log, self._keyed):
            log.close()

    async def _append_with_key(self, key: str, rows: Sequence[Row], day: date) -> None:
        """In one go, so that nothing else is written between finding the place and writing there."""

        def write() -> None:
            try:
                self._keys.announce(key, self._keyed.next_place(day), len(rows))
                self._keyed.append(encoded(rows), day)
            except StoreUnavailableError as error:
                self._note(str(error))
                raise

        await asyncio.get_running_loop().run_in_executor(self._writer, write)

    def _write(self, lines: bytes, day: date) -> None:
        began = time.monotonic()
        try:
            self._log.append(lines, day)
            self._note("")
        except StoreUnavailableError as error:
            self._note(str(error))
            raise
        finally:
            ended = time.monotonic()
            is_slow = ended - began >= SLOW
            if is_slow and self._was_slow:
                self._is_slow_until = ended + WHILE
            self._was_slow = is_slow

    def _note(self, problem: str) -> None:
        """Keep a problem, and log when it begins and when it is over."""
        if problem and not self.problem:
            logger.error("predictions cannot be logged: %s", problem)
        if self.problem and not problem:
            logger.warning("predictions can be logged again")
        self.problem = problem

    def _queued(self, lines: bytes, day: date) -> asyncio.Future[None]:
        if self._bytes + len(lines) > MOST_BYTES:
            raise StoreUnavailableError(
                f"{self._bytes} bytes wait to be written, and no more are accepted",
                subject=str(self._log.folder),
                remedy="Send the request again later; if this goes on, the disk is too slow",
            )
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        self._waiting.append((day, lines, written))
        self._bytes += len(lines)
        if not self._is_writing:
            self._is_writing = True
            self._write_next(loop)
        return written

    def _write_next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the thread what is waiting for the same day."""
        day = self._waiting[0][0]
        count = next((place for place, entry in enumerate(self._waiting) if entry[0] != day), len(self._waiting))
        entries, self._waiting = self._waiting[:count], self._waiting[count:]
        lines = b"".join(entry[1] for entry in entries)
        writing = loop.run_in_executor(self._writer, self._write, lines, day)
        writing.add_done_callback(lambda done: self._wrote(loop, entries, len(lines), done.exception()))

    def _wrote(
        self, loop: asyncio.AbstractEventLoop, entries: Sequence[_Entry], size: int, error: BaseException | None
    ) -> None:
        self._bytes -= size
        for _, _, written in entries:
            if error:
                written.set_exception(error)
            else:
                written.set_result(None)
        self._is_writing = bool(self._waiting)
        if self._is_writing:
            self._write_next(loop)

    def _mark(self, mark: Callable[[Sequence[str]], None], prediction_ids: Sequence[str]) -> None:
        """Nobody waits for an answer here, so that an error can only be reported in the service's own log."""
        try:
            mark(prediction_ids)
        except StoreError:
            logger.exception("predictions %s could not be marked", ", ".join(prediction_ids))
