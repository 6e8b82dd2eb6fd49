"""Watches the arms of a rollout: a challenger that fails, or answers too slowly, is taken back."""

from __future__ import annotations

from collections import deque

import numpy as np

from ratchet.core.serving_settings import RolloutSettings
from ratchet.prediction_log.arms import CHALLENGER

LAST = 1000
"""Answers of an arm whose times are compared."""
SLOWEST = 95
"""The percentile that is compared."""
UNSEEN = 0.001
"""Seconds of difference that never matter."""


class RolloutWatch:
    """Counts what this process answers during one step of a rollout."""

    def __init__(self, settings: RolloutSettings) -> None:
        self._settings = settings
        self._predicted = 0
        self._failed = 0
        self._failure = ""
        self._seconds: dict[str, deque[float]] = {}

    def answered(self, arm: str, seconds: float) -> None:
        """Note an answer, and how long it took."""
        self._seconds.setdefault(arm, deque(maxlen=LAST)).append(seconds)
        self._predicted += arm == CHALLENGER

    def mirrored(self, count: int) -> None:
        """Note predictions of the challenger that nobody waited for."""
        self._predicted += count

    def failed(self, error: Exception) -> None:
        """Note that the challenger could not predict a request."""
        self._failed += 1
        self._failure = self._failure or f"{type(error).__name__}: {error}"

    def objection(self) -> str:
        """Why the challenger has to be taken back; empty if it need not, or if it has not answered enough yet."""
        asked, bounds = self._predicted + self._failed, self._settings
        if asked < bounds.min_answers:
            return ""
        if self._failed > bounds.max_failures * asked:
            return f"it failed on {self._failed:,} of {asked:,} requests ({self._failure[:200]})"
        return self._slowness()

    def _slowness(self) -> str:
        bounds = self._settings
        if len(self._seconds) < 2 or min(map(len, self._seconds.values())) < bounds.min_answers:
            return ""
        slow = {arm: float(np.percentile(seconds, SLOWEST)) for arm, seconds in self._seconds.items()}
        own = slow.pop(CHALLENGER)
        champion = max(slow.values())
        if own <= max(bounds.max_slowdown * champion, champion + UNSEEN):
            return ""
        return f"{SLOWEST}% of its answers took up to {own * 1000:.1f} ms, of the champion's {champion * 1000:.1f} ms"
