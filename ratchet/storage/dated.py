"""Contents and computations by date: selecting a span without going through everything, and dates that belong together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import accumulate

from ratchet.storage.date_folders import date_folder, month_folder
from ratchet.storage.digests import digest

_LAST = chr(0x10FFFF)
"""Sorts after every name."""
Part = tuple[str, str, str]
"""UTC date in ISO format, or "" if the content belongs to every date; name; digest of the content."""
_DAY = timedelta(days=1)
_CHUNK = 31
"""Days computed together: so many that their lookback is rarely read again, but few enough to fit in memory."""


def chunks(days: Iterable[date]) -> Iterator[list[date]]:
    """Runs of consecutive days, of at most _CHUNK each; `days` are in order."""
    chunk: list[date] = []
    for day in days:
        if chunk and (day - chunk[-1] != _DAY or len(chunk) == _CHUNK):
            yield chunk
            chunk = []
        chunk.append(day)
    if chunk:
        yield chunk


@dataclass(frozen=True)
class Dates:
    """The dates of a partition: a single one, or a whole month."""

    first: date
    last: date

    @property
    def name(self) -> str:
        """`2024-01-31` or `2024-01`."""
        return str(self.first) if self.first == self.last else f"{self.first:%Y-%m}"

    @property
    def folder(self) -> str:
        return date_folder(self.first) if self.first == self.last else month_folder(self.first)

    @property
    def all(self) -> list[date]:
        return [self.first + number * _DAY for number in range((self.last - self.first).days + 1)]


def partitioned(days: Sequence[date]) -> list[Dates]:
    """Consecutive days in partitions: whole months, and single dates for the last two months and what is no whole month.

    Every file costs DVC time in every run, so an old month, which rarely changes, is a single one. The rows that still come
    late are mostly of the last two.
    """
    this_month = days[-1].replace(day=1)
    open_from = (this_month - _DAY).replace(day=1)
    found: list[Dates] = []
    for day in days:
        begins = day.replace(day=1)
        is_whole = begins >= days[0] and begins < open_from
        if not is_whole:
            found.append(Dates(day, day))
        elif day == begins:
            found.append(Dates(begins, (begins + 31 * _DAY).replace(day=1) - _DAY))
    return found


def computed_together(partitions: Iterable[Dates]) -> Iterator[list[Dates]]:
    """The partitions in groups of at most _CHUNK consecutive days."""
    partitions = [*partitions]
    yield from ([month] for month in partitions if month.first != month.last)
    for chunk in chunks(each.first for each in partitions if each.first == each.last):
        yield [Dates(day, day) for day in chunk]


@dataclass(frozen=True)
class Dated:
    """Named contents in the order of their dates; those without a date come first."""

    parts: list[Part]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Dated:
        return cls(sorted(parts))

    @property
    def first(self) -> date | None:
        """The earliest date; None if no content has a date."""
        start = self._undated
        return date.fromisoformat(self.parts[start][0]) if start < len(self.parts) else None

    def within(self, first: date | None, last: date) -> list[Part] | str:
        """The parts of the dates `first` to `last` and those without a date, or a digest that changes with them.

        Without `first` it is a single digest of all parts up to `last`. Otherwise D dates with their history need D² parts.
        """
        end = bisect_right(self.parts, (str(last), _LAST, ""))
        if first is None:
            return self._histories[end]
        return self.parts[: self._undated] + self.parts[bisect_left(self.parts, (str(first), "", "")) : end]

    @property
    def _undated(self) -> int:
        return bisect_right(self.parts, ("", _LAST, ""))

    @cached_property
    def _histories(self) -> list[str]:
        """At index n: the digest of the first n parts."""
        return list(accumulate(self.parts, digest, initial=""))
