"""What `ratchet check` says: what is wrong, where to change it, and how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ratchet.core.errors import RatchetError


@dataclass(frozen=True)
class Finding:
    """`what` is a short name of the kind of mistake, `where` the file and line to change."""

    what: str
    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}.\n  {self.remedy.rstrip('.')}."

    @classmethod
    def of(cls, what: str, where: str, error: RatchetError) -> Finding:
        return cls(what, where, f"{error.subject}: {error.problem}", error.remedy)


def format_duration(span: timedelta) -> str:
    """A length of time as one says it, such as `7 days 2 hours`."""
    minutes, seconds = divmod(span.seconds + span.microseconds / 1e6, 60)
    counts = {"day": span.days, "hour": int(minutes) // 60, "minute": int(minutes) % 60, "second": seconds}
    return " ".join(f"{count:g} {unit}{'s' * (count != 1)}" for unit, count in counts.items() if count) or "no time"
