"""How many requests a key may send in a period: a token bucket."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RATE = re.compile(r"([1-9][0-9]{0,6})/([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Rate:
    """`count` requests in `seconds`."""

    count: float
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """A rate from its text, such as `100/s`, `600/m` or `1000/h`. Raises ValueError."""
        found = _RATE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no rate: write 100/s, 600/m or 1000/h, with up to 7 digits")
        return cls(int(found[1]), _SECONDS[found[2]])

    def shared_by(self, workers: int) -> Rate:
        """The part of each of the processes that share it."""
        return Rate(self.count / workers, self.seconds)


class TokenBucket:
    """Lets `rate` through, and as many requests at once as the rate has in its period, but at least one.

    Each request puts off the time at which the bucket is full again by the time in which one token comes. So that time is all
    there is to remember. Times are seconds of a clock that only goes forward.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._interval = rate.seconds / rate.count
        self._capacity = max(rate.seconds, self._interval)
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """Take a token. If there is none, the seconds until there is one; otherwise 0."""
        full_at = max(self._full_at, now) + self._interval
        missing = full_at - now - self._capacity
        if missing > 1e-9:
            return missing
        self._full_at = full_at
        return 0.0
