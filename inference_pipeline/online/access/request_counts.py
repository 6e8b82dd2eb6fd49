"""Counts requests by what they asked and how they were answered, for Prometheus; and writes a line of log for each, if wanted.

What was asked is one of a few words, so that no caller can make more of them by paths.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import prometheus_client

    from inference_pipeline.online.histogram import BulkHistogram

UNREADABLE = "unreadable"
"""What is no whole request: it is too long, too slow, or no HTTP."""
GONE = "499"
"""The status of a request whose caller had gone before it was answered, as in nginx."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds."""
logger = logging.getLogger(__name__)


class RequestCounts:
    """Requests are only told to Prometheus from time to time, because one of its counters takes long."""

    def __init__(self, *, writes_lines: bool = False) -> None:
        self._seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._writes_lines = writes_lines
        if writes_lines:
            logger.setLevel(logging.INFO)

    def add(self, asked: str, status: str, seconds: float, line: str = "") -> None:
        """Note an answer. `line` says for the log what was asked."""
        self._seconds[asked, status].append(seconds)
        if self._writes_lines:
            logger.info("%s: %s in %.1f ms", line or asked, status, seconds * 1000)

    def show(self) -> None:
        """Tell Prometheus what was noted since the last time."""
        noted, self._seconds = self._seconds, defaultdict(list)
        for (asked, status), seconds in noted.items():
            _requests().labels(asked, status).inc(len(seconds))
            _took().labels(asked).observe_all(seconds)


@cache
def _requests() -> prometheus_client.Counter:
    """A counter. BentoML must have prepared its workers before prometheus_client is imported."""
    import prometheus_client

    return prometheus_client.Counter(
        "ratchet_requests", "Requests by what was asked, and status of the answer", ["asked", "status"]
    )


@cache
def _took() -> BulkHistogram:
    from inference_pipeline.online.histogram import BulkHistogram

    help_text = "How long requests took, from their headers to the end of the answer"
    return BulkHistogram("ratchet_request_seconds", help_text, ["asked"], buckets=_BUCKETS)
