"""Lengths of time in params.yaml."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer


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
