"""Durations, instants, counts and names as people write them, texts on one line, and suggestions for a misspelt name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

_DURATION = re.compile(r"([1-9]\d{0,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta | None:
    """A whole number and its unit, such as `90s`, `15m`, `24h` or `7d`; None for any other text."""
    found = _DURATION.fullmatch(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def format_duration(span: timedelta) -> str:
    """A length of time in words, such as `7 days 2 hours`: to the minute if it is a day or more."""
    span = timedelta(days=span.days, minutes=span.seconds // 60) if span.days else span
    minutes, seconds = divmod(span.seconds + span.microseconds / 1e6, 60)
    counts = {"day": span.days, "hour": int(minutes) // 60, "minute": int(minutes) % 60, "second": seconds}
    return " ".join(f"{count:g} {unit}{'s' * (count != 1)}" for unit, count in counts.items() if count) or "no time"


def minute(instant: datetime) -> str:
    """An instant without seconds, in UTC."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%MZ}"


def count_of(count: int, thing: str, things: str = "") -> str:
    """`1 row`, `2,000 rows`, or `2 batches` with their plural as `things`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def spans(names: Iterable[str]) -> list[str]:
    """The names in order, with consecutive ISO dates as one: `2024-05-01 to 2024-05-03`."""
    found: list[list[str]] = []
    for name in sorted(names):
        if found and _day_after(found[-1][-1]) == name:
            found[-1][1:] = [name]
        else:
            found.append([name])
    return [" to ".join(span) for span in found]


def _day_after(name: str) -> str | None:
    """The following date, if the name is an ISO date."""
    with suppress(ValueError):
        return (date.fromisoformat(name) + timedelta(days=1)).isoformat()
    return None


def one_line(text: str, limit: int = 300) -> str:
    """A text on one line, of at most `limit` characters: the end of a longer one is left out, which `…` shows."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to this one; None if none is similar."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or an empty text if no known name is similar."""
    found = closest(name, known)
    return f" (did you mean {found!r}?)" if found else ""
