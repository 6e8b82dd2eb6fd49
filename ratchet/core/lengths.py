"""Lengths of time in params.yaml."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from ratchet.core.text import parse_duration


def _whole_days(value: object) -> timedelta:
    """A length of time from its text. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    found = re.fullmatch(r"(\d{1,5})d", value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"{value!r} is no number of days: write 7d, 31d or 365d")
    return timedelta(days=int(found[1]))


Days = Annotated[
    timedelta, BeforeValidator(_whole_days), PlainSerializer(lambda span: f"{span.days}d", return_type=str)
]
"""Local days, written as `31d`."""
ONE_DAY = timedelta(days=1)


def _length(value: object) -> timedelta:
    """A length of time from its text. Raises ValueError."""
    found = value if isinstance(value, timedelta) else parse_duration(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no length of time: write 90s, 15m, 6h or 2d")
    return found


def _text_of(span: timedelta) -> str:
    """The text of a length of time, in seconds."""
    return f"{span // timedelta(seconds=1)}s"


Length = Annotated[timedelta, BeforeValidator(_length), PlainSerializer(_text_of, return_type=str)]
"""A length of time, written as `90s`, `15m`, `6h` or `2d`."""
