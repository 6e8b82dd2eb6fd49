"""Choose what a baseline groups by: the inputs that explain most of the label, or a number in bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from authoring.init import explained_variance
from authoring.init.explained_variance import Floats
from authoring.init.profile import Column, Profile
from ratchet.core.clock import Instants
from ratchet.models import groups
from ratchet.use_case.contract import Array

Bands = tuple[str, tuple[float, ...]]
"""The name of a number column, and the values at which it is cut into bands."""
Groups = Mapping[str, Array]
ROWS_IN_GROUP = 30
FEW = 50
"""A whole number with at most this many different values may have a group for each value."""


@dataclass(frozen=True)
class Baseline:
    """The finest grouping: inputs, or the bands of a number. `is_chance`: it explains no more of the label than chance."""

    by: tuple[str, ...]
    bands: Bands | None
    is_chance: bool


def choose(
    profile: Profile,
    inputs: Sequence[Column],
    entities: Sequence[str],
    calendar: Sequence[str],
    asked: Instants | None,
    label: Floats,
) -> Baseline:
    """At most two inputs, which may be entities, or the bands of a number if these explain twice as much."""
    there = ~np.isnan(label)
    found = {name: values[there] for name, values in _groups(profile, inputs, entities, calendar, asked).items()}
    dense = {name: groups.merged(each, ROWS_IN_GROUP) if name in entities else each for name, each in found.items()}
    best, explained = _best(dense, label[there])
    bands, by_bands = _best_bands(profile, inputs, there, label[there])
    if bands and by_bands > 2 * explained:
        name, cuts = bands
        band = np.digitize(profile.numbers(name)[there], cuts)
        return Baseline((f"{name}_band",), bands, _is_chance([band], label[there]))
    return Baseline(best, None, _is_chance([found[name] for name in best], label[there]))


def _is_chance(columns: Sequence[Array], label: Floats) -> bool:
    """Whether no level of the baseline explains more of the label than chance, by the same rule as `ratchet check`."""
    levels = [columns[:size] for size in range(len(columns), 0, -1)]
    return all(groups.spread(groups.merged(groups.codes(level), 2), label).is_chance for level in levels)


def _groups(
    profile: Profile, inputs: Sequence[Column], entities: Sequence[str], calendar: Sequence[str], asked: Instants | None
) -> Groups:
    """Inputs with few different values, entities, and calendar columns: each row's value as a code."""
    few = [
        column.name
        for column in inputs
        if column.kind in ("text", "boolean") or (column.kind == "whole" and column.distinct <= FEW)
    ]
    named = [column.name for column in inputs if column.name in entities]
    found: dict[str, Array] = {
        name: explained_variance.codes(profile.text[name].to_numpy()) for name in dict.fromkeys([*few, *named])
    }
    if asked is not None:
        day = asked.astype("datetime64[D]")
        times = {"hour": (asked - day).astype("timedelta64[h]"), "weekday": (day.astype(np.int64) + 3) % 7}
        found |= {name: times[name].astype(np.int64) for name in calendar}
    return found


def _best(candidates: Groups, label: Floats) -> tuple[tuple[str, ...], float]:
    """The column that explains most, then the one that adds most to it, as long as groups have enough rows."""
    found: tuple[str, ...] = ()
    explained = 0.0
    for _ in range(2):
        others = [name for name in candidates if name not in found]
        splits = {name: explained_variance.codes(*(candidates[each] for each in (*found, name))) for name in others}
        dense = {name: split for name, split in splits.items() if len(split) >= ROWS_IN_GROUP * split.max()}
        scores = {name: explained_variance.explained(split, label) for name, split in dense.items()}
        best = max(scores, key=lambda name: scores[name], default="")
        if not best or scores[best] <= explained:
            break
        found, explained = (*found, best), scores[best]
    return found, explained


def _best_bands(profile: Profile, inputs: Sequence[Column], there: Array, label: Floats) -> tuple[Bands | None, float]:
    scores: dict[Bands, float] = {}
    for column in inputs:
        if column.kind in ("whole", "number") and not column.is_category:
            values = profile.numbers(column.name)
            cuts = explained_variance.edges(values)
            scores[column.name, tuple(cuts)] = explained_variance.explained(np.digitize(values[there], cuts), label)
    best = max(scores, key=lambda bands: scores[bands], default=None)
    return best, scores[best] if best else 0.0
