"""What a person should know of a use case that was begun: what was left out, and what may be wrong with what was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from authoring.init import explained_variance as worth
from authoring.init.baseline import Baseline
from authoring.init.choices import Decided
from authoring.init.explained_variance import Floats
from authoring.init.profile import Column, Profile, misfit
from ratchet.sources.csv_parsing import parses, present

SUSPICIOUS = 0.98
"""What by itself says so much of a label was hardly known before it."""
_AMOUNT = r"^[^\w/:-]*[+-]?\d[\d.,' ]*[^\w/:-]*$"
"""1,5 or € 5 or 1'000 or 5%, but neither a date nor a word."""


def notes(
    profile: Profile, decided: Decided, fields: Sequence[Column], kept: Sequence[Column], label: Floats
) -> Iterator[str]:
    """One line each."""
    used = {decided.time, *(column.name for column in (*fields, *kept))}
    left_out = [column.name for column in profile.columns if column.name not in {*used, *decided.late}]
    if left_out:
        yield f"left out: {', '.join(left_out)} (empty, one value only, another time, or too many different values)"
    for column in filter(partial(_is_almost_number, profile), profile.columns):
        found = misfit(profile, column, "number")
        yield f"{column.name} is text, because of {found}; a number is digits with a point, or nothing where it lacks"
    unknown = int(np.isnan(label).sum())
    if unknown:
        known = "deliver the file again under its name once it is known"
        yield f"{unknown} rows have no {decided.label.name}: they are scored as requests without a label; {known}"
    repeated = profile.repeated(decided.key)
    if repeated:
        yield f"{repeated} rows repeat the key {', '.join(decided.key)} of another, or lack one: they will be quarantined"
    if not decided.scattered_by:
        yield f"taken as known at {decided.time}: {', '.join(column.name for column in fields)}; name by --late what is not"
    for column in filter(partial(_says_it_all, profile, label), fields):
        yield f"{column.name} nearly decides {decided.label.name}: is it known before? If not, --late {column.name}"


def infinite(columns: Sequence[Column]) -> Iterator[str]:
    """A line for each column with infinite values, which are no numbers that a model can learn from."""
    for column in columns:
        if column.infinite:
            yield f"{column.name} is infinite in {column.infinite} rows: they will be quarantined"


def weak_baseline(name: str, decided: Decided, found: Baseline) -> Iterator[str]:
    """A line where the baseline would not beat one value for all rows."""
    if found.is_chance:
        by = (
            f"the baseline groups by {' and '.join(found.by)}, and that"
            if found.by
            else "no input that could be grouped by"
        )
        label, place = decided.label.name, f"`baseline=` of use_cases/{name}/__init__.py"
        remedy = f"group by an input that {label} depends on, such as bands of a number, in {place}"
        yield f"{by} says no more of {label} than chance, so that the gate would refuse the baseline: {remedy}"


def _is_almost_number(profile: Profile, column: Column) -> bool:
    """Whether most of a column of text are amounts, and it is not text for being codes."""
    given = present(profile.text[column.name])
    if column.kind != "text" or parses(given, pa.float64()):
        return False
    return bool(pc.mean(pc.match_substring_regex(given, _AMOUNT)).as_py() > 0.5)


def _says_it_all(profile: Profile, label: Floats, column: Column) -> bool:
    if column.is_number:
        return worth.correlation(profile.numbers(column.name), label) > SUSPICIOUS
    there = ~np.isnan(label)
    return worth.explained(worth.codes(profile.text[column.name].to_numpy()[there]), label[there]) > SUSPICIOUS
