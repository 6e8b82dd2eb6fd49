"""The longest time from a row's timestamp until its label is known. The windows of a use case use it as their `delay`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from authoring.init.profile import Profile
from authoring.init.questions import Decided

USUAL = 0.99
"""The share of rows whose label is known within the usual delay."""
ABSURD = 10
"""A delay of more than this many times the usual delay (at least a day) is a typing error."""


@dataclass(frozen=True)
class Delay:
    """The longest delay that is not a typing error, in whole hours or days, and how many rows have a longer one."""

    text: str
    exceeded: int = 0


def delay_of(profile: Profile, decided: Decided) -> Delay:
    """The delay that the answers give, or else the delay of the rows."""
    if decided.known_after:
        return Delay(_text(decided.known_after / timedelta(hours=1)))
    asked, known = (profile.values(name).to_numpy() for name in (decided.time, decided.known_at))
    hours = ((known - asked) / np.timedelta64(1, "h"))[~np.isnat(known) & ~np.isnat(asked)]
    longest = ABSURD * max(float(np.quantile(hours, USUAL)), 24.0)
    return Delay(_text(float(hours[hours <= longest].max())), int((hours > longest).sum()))


def _text(hours: float) -> str:
    return f"{math.ceil(hours)}h" if hours <= 48 else f"{math.ceil(hours / 24)}d"
