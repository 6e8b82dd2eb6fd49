"""How long after its time a row's label is known, at most: what the windows of a use case reckon with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from authoring.init.profile import Profile
from authoring.init.questions import Decided

USUAL = 0.99
"""The share of rows that are known within what is usual."""
ABSURD = 10
"""So many times the usual delay, a day at least, is a typing error."""


@dataclass(frozen=True)
class Delay:
    """The longest delay that is no typing error, in whole hours or days, and how many rows are known later than that."""

    text: str
    exceeded: int = 0


def delay_of(profile: Profile, decided: Decided) -> Delay:
    """As the use case says, or as the rows do."""
    if decided.known_after:
        return Delay(_text(decided.known_after / timedelta(hours=1)))
    asked, known = (profile.values(name).to_numpy() for name in (decided.time, decided.known_at))
    hours = ((known - asked) / np.timedelta64(1, "h"))[~np.isnat(known) & ~np.isnat(asked)]
    longest = ABSURD * max(float(np.quantile(hours, USUAL)), 24.0)
    return Delay(_text(float(hours[hours <= longest].max())), int((hours > longest).sum()))


def _text(hours: float) -> str:
    return f"{math.ceil(hours)}h" if hours <= 48 else f"{math.ceil(hours / 24)}d"
