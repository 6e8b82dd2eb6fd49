"""What a person should know of a use case that was begun: what was left out, and what may be wrong with what was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cli.init import worth
from cli.init.decide import Decided
from cli.init.look import Column, Profile
from cli.init.worth import Floats

SUSPICIOUS = 0.98
"""What by itself says so much of a label was hardly known before it."""


def notes(
    profile: Profile, decided: Decided, fields: Sequence[Column], kept: Sequence[Column], label: Floats
) -> Iterator[str]:
    """One line each."""
    used = {decided.time, *(column.name for column in (*fields, *kept))}
    left_out = [column.name for column in profile.columns if column.name not in {*used, *decided.late}]
    if left_out:
        yield f"left out: {', '.join(left_out)} (empty, one value only, another time, or too many different values)"
    unknown = int(np.isnan(label).sum())
    if unknown:
        yield f"{unknown} rows have no {decided.label.name}: they are requests without a label"
    repeated = profile.repeated(decided.key)
    if repeated:
        yield f"{repeated} rows repeat the key {', '.join(decided.key)} of another, or lack one: they will be quarantined"
    if not decided.scattered_by:
        yield f"taken as known at {decided.time}: {', '.join(column.name for column in fields)}; name by --late what is not"
    for column in fields:
        if _says_it_all(profile, column, label):
            yield f"{column.name} nearly decides {decided.label.name}: is it known before? If not, --late {column.name}"


def _says_it_all(profile: Profile, column: Column, label: Floats) -> bool:
    if column.is_number:
        return worth.correlation(profile.numbers(column.name), label) > SUSPICIOUS
    there = ~np.isnan(label)
    return worth.explained(worth.codes(profile.text[column.name].to_numpy()[there]), label[there]) > SUSPICIOUS
