"""Who writes the log of online predictions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest

from inference_pipeline.online import log_writer
from inference_pipeline.online.log_writer import LogWriter
from ratchet.prediction_log.online_log import OnlineLog

DAY = date(2024, 7, 24)


class Noted(OnlineLog):
    """A log that notes whether another thread than that of the event loop wrote."""

    by_thread: list[bool]

    def append(self, lines: bytes, day: date) -> None:
        self.by_thread.append(threading.current_thread() is not threading.main_thread())
        super().append(lines, day)


def by_thread(folder: Path, slow: Iterable[bool], monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each of some writes, of which some are slow, whether a thread wrote."""
    Noted.by_thread = []

    async def write() -> None:
        writer = LogWriter(folder, Noted)
        for each in slow:
            monkeypatch.setattr(log_writer, "SLOW", 0.0 if each else 1000.0)
            await writer.append([{"prediction_id": "2024-07-24-o0"}], DAY)
        writer.close()

    asyncio.run(write())
    return Noted.by_thread


@pytest.mark.parametrize(
    ("slow", "expected"),
    [
        ([True, False] * 3, [False] * 6),
        ([True, True, True, False, False], [False, False, True, True, True]),
    ],
)
def test_a_thread_writes_after_two_slow_writes_in_a_row(
    tmp_path: Path, slow: list[bool], expected: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a single one the process may just have had to wait for a processor, and a thread costs more."""
    assert expected == by_thread(tmp_path, slow, monkeypatch)
    assert len(slow) == sum(path.read_bytes().count(b"\n") for path in tmp_path.rglob("*.jsonl"))
