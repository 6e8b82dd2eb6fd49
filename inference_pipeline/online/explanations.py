"""What each input adds to a prediction: SHAP values of the trees, which LightGBM computes itself.

They take a hundred times as long as the prediction, so they have a thread of their own, in which only a few requests wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ratchet.core.errors import UnavailableError

MOST_WAITING = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Explanation:
    """`base_value` and `contributions` add up to the prediction, on a scale: "prediction", before `postprocess`, or "log-odds"
    of the probability. A prediction without features has no contributions."""

    base_value: float
    contributions: Mapping[str, float]
    scale: str


class ExplanationThread:
    """One explanation at a time, and up to MOST_WAITING that wait for it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "explanations")
        self._waiting = 0

    async def run(self, explain: Callable[[], T]) -> T:
        """Raises UnavailableError if too many wait already."""
        if self._waiting >= MOST_WAITING:
            raise UnavailableError(
                f"{self._waiting} requests wait for an explanation already",
                subject="explanations",
                remedy="Ask again later",
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, explain)
        finally:
            self._waiting -= 1
