"""What follows from a file and from what was decided: request, inputs, windows, baseline, slices, block and periods."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from cli.init import periods, worth
from cli.init.decide import Decided
from cli.init.look import Column, Profile
from cli.init.periods import Chosen
from ratchet.clock import Instants, local_time
from ratchet.tables import to_columns
from ratchet.use_case import Array

CALENDAR = ("hour", "weekday")
SUSPICIOUS = 0.98
"""What by itself says so much of a label was hardly known before it."""
WINDOWS = (("1d", "7d"), ("7d", "28d"), ("28d", "84d"), ("91d", "364d"))
ROWS_IN_GROUP = 50
SLICES = 8


@dataclass(frozen=True)
class Plan:
    """All that the text of a use case says.

    `fields` are the columns of a request beside its time, `kept` the other columns of the table. `bands` cut a number for the
    baseline to group by. `scale` makes whole numbers of labels, whose sums are exact. `notes` are for the person.
    """

    name: str
    decided: Decided
    fields: tuple[Column, ...]
    kept: tuple[Column, ...]
    not_inputs: tuple[str, ...]
    calendar: tuple[str, ...]
    bands: tuple[str, tuple[float, ...]] | None
    windows: tuple[str, str]
    tile: str
    delay: str
    scale: int
    baseline: tuple[str, ...]
    slices: tuple[str, ...]
    block: str
    chosen: Chosen
    notes: tuple[str, ...]


def plan(name: str, profile: Profile, decided: Decided, snapshot: date | None) -> Plan:
    """Raises SettingsError where there are too few rows."""
    label = label_values(profile, decided)
    fields, not_inputs = _fields(profile, decided)
    asked, known = (None, None) if snapshot else _moments(profile, decided)
    chosen = (
        periods.from_snapshot(snapshot, int((~np.isnan(label)).sum()), profile.subject)
        if snapshot
        else _from_times(profile, decided, asked, known, label)
    )
    calendar = tuple(_calendar(profile, fields, asked))
    groups = _groups(profile, fields, not_inputs, calendar, asked)
    bands = _bands(profile, fields, not_inputs, groups, label)
    days = (chosen.end - chosen.start).days
    return Plan(
        name=name,
        decided=decided,
        fields=fields,
        kept=_kept(profile, decided, fields),
        not_inputs=not_inputs,
        calendar=calendar,
        bands=bands,
        windows=next((each for each in reversed(WINDOWS) if int(each[1][:-1]) <= days / 4), WINDOWS[0]),
        tile="1h" if "hour" in calendar else "1d",
        delay=_delay(asked, known, decided),
        scale=_scale(label),
        baseline=(f"{bands[0]}_band",) if bands else _best(groups, label),
        slices=_slices(profile, fields, chosen),
        block=_block(decided, chosen),
        chosen=chosen,
        notes=tuple(_notes(profile, decided, fields, label)),
    )


def label_values(profile: Profile, decided: Decided) -> npt.NDArray[np.float64]:
    """The label as numbers, NaN where it is not known."""
    name = decided.label.name
    if decided.positive is None:
        return np.asarray(to_columns(profile.text.select([]).append_column(name, profile.values(name)))[name])
    text = profile.text[name]
    values = np.asarray(text.to_numpy() == decided.positive, dtype=np.float64)
    values[text.is_null().to_numpy()] = np.nan
    return values


def _moments(profile: Profile, decided: Decided) -> tuple[Instants, Instants]:
    """The local times at which each row was asked for, and its label known."""
    asked = profile.values(decided.time, decided.timezone).to_numpy()
    if decided.known_after:
        known = asked + np.timedelta64(decided.known_after)
    else:
        known = profile.values(decided.known_at, decided.timezone).to_numpy()
    return local_time(asked, decided.timezone), local_time(known, decided.timezone)


def _from_times(
    profile: Profile, decided: Decided, asked: Instants, known: Instants, label: npt.NDArray[np.float64]
) -> Chosen:
    known = np.where(np.isnan(label), np.datetime64("NaT", "us"), known)
    return periods.from_times(asked.astype("datetime64[D]"), known.astype("datetime64[D]"), profile.subject)


def _fields(profile: Profile, decided: Decided) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """What a caller knows, and what of it is no input: names that are too many to learn from."""
    key = decided.key if len(decided.key) == 1 else ()
    looked_up = {*decided.entities, *filter(None, [decided.scattered_by])}
    apart = {decided.label.name, decided.time, decided.known_at, *decided.late, *key} - looked_up
    usable = [column for column in profile.columns if column.name not in apart and column.kind not in ("time", "empty")]
    fields = tuple(
        column
        for column in usable
        if column.name in looked_up or (column.distinct > 1 and not _is_too_varied(profile, column))
    )
    names = {*decided.key} if decided.scattered_by else set()
    return fields, tuple(
        column.name
        for column in fields
        if column.name in names | looked_up and (column.name in names or _is_too_varied(profile, column))
    )


def _is_too_varied(profile: Profile, column: Column) -> bool:
    return column.kind == "text" and column.distinct > max(20, profile.rows / 20)


def _kept(profile: Profile, decided: Decided, fields: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns of the table that no request has, in the file's order."""
    wanted = {decided.label.name, decided.known_at, *decided.late, *decided.key}
    asked = {decided.time, *(column.name for column in fields)}
    return tuple(column for column in profile.columns if column.name in wanted - asked)


def _calendar(profile: Profile, fields: tuple[Column, ...], asked: Instants | None) -> Iterator[str]:
    """Which of CALENDAR a time tells, unless the file has columns of these names."""
    if asked is None:
        return
    names = {column.name for column in profile.columns} | {column.name for column in fields}
    given = asked[~np.isnat(asked)]
    has_hours = bool((given != given.astype("datetime64[D]")).any())
    if has_hours and "hour" not in names:
        yield "hour"
    if "weekday" not in names:
        yield "weekday"


def _groups(
    profile: Profile,
    fields: tuple[Column, ...],
    not_inputs: tuple[str, ...],
    calendar: tuple[str, ...],
    asked: Instants | None,
) -> dict[str, Array]:
    """What a baseline may group by: inputs of few enough different values."""
    few = [
        column.name
        for column in fields
        if column.name not in not_inputs and 1 < column.distinct <= max(2, profile.rows / ROWS_IN_GROUP)
        if column.kind in ("text", "boolean") or column.distinct <= 50
    ]
    groups: dict[str, Array] = {name: profile.text[name].to_numpy() for name in few}
    if asked is not None:
        day = asked.astype("datetime64[D]")
        times = {"hour": (asked - day).astype("timedelta64[h]"), "weekday": (day.astype(np.int64) + 3) % 7}
        groups |= {name: times[name].astype(np.int64) for name in calendar}
    return groups


def _best(groups: dict[str, Array], label: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """The group that explains most of the label, and the one that adds most to it; or nothing."""
    there = ~np.isnan(label)
    known, found = label[there], tuple[str, ...]()
    explained = 0.0
    for _ in range(2):
        scores = {
            name: worth.explained(worth.codes(*(groups[each][there] for each in (*found, name))), known)
            for name in groups
            if name not in found and _is_sparse(groups, found, name) is False
        }
        best = max(scores, key=lambda name: scores[name], default=None)
        if best is None or scores[best] <= explained:
            break
        found, explained = (*found, best), scores[best]
    return found


def _is_sparse(groups: dict[str, Array], found: tuple[str, ...], name: str) -> bool:
    codes = worth.codes(*(groups[each] for each in (*found, name)))
    return len(codes) < ROWS_IN_GROUP / 2 * (int(codes.max(initial=0)) + 1)


def _bands(
    profile: Profile,
    fields: tuple[Column, ...],
    not_inputs: tuple[str, ...],
    groups: dict[str, Array],
    label: npt.NDArray[np.float64],
) -> tuple[str, tuple[float, ...]] | None:
    """A number in bands, where that explains far more of the label than any group of what there is."""
    there = ~np.isnan(label)
    best = _best(groups, label)
    least = 2 * worth.explained(worth.codes(*(groups[name][there] for name in best)), label[there]) if best else 0.0
    scores: dict[tuple[str, tuple[float, ...]], float] = {}
    for column in fields:
        if column.kind in ("whole", "number") and column.name not in not_inputs and not column.is_category:
            values = to_float(profile, column.name)
            cuts = worth.edges(values)
            scores[column.name, tuple(cuts)] = worth.explained(np.digitize(values[there], cuts), label[there])
    chosen = max(scores, key=lambda band: scores[band], default=None)
    return chosen if chosen is not None and scores[chosen] > least else None


def to_float(profile: Profile, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(to_columns(profile.text.select([]).append_column(name, profile.values(name)))[name])


def _slices(profile: Profile, fields: tuple[Column, ...], chosen: Chosen) -> tuple[str, ...]:
    """The column of fewest values of which each has enough rows in the holdout to be judged apart."""
    share = chosen.holdout_rows / profile.rows
    enough = [
        column
        for column in fields
        if 1 < column.distinct <= SLICES and column.filled == profile.rows
        if min(column.counts.values()) * share >= 2 * least_slice(chosen)
    ]
    return tuple(column.name for column in sorted(enough, key=lambda column: column.distinct)[:1])


def least_slice(chosen: Chosen) -> int:
    return min(200, max(30, chosen.holdout_rows // 20))


def _block(decided: Decided, chosen: Chosen) -> str:
    """Days where the holdout has enough of them, else whom rows are about: rows of one block are alike."""
    if decided.scattered_by:
        return decided.scattered_by
    return "day" if chosen.holdout_days >= 7 or not decided.entities else decided.entities[0]


def _delay(asked: Any, known: Any, decided: Decided) -> str:
    """The longest time until a label was known, in whole hours or days."""
    if decided.known_after:
        longest = decided.known_after
    else:
        spans = known - asked
        longest = timedelta(microseconds=int(spans[~np.isnat(spans)].max().astype("timedelta64[us]").astype(np.int64)))
    hours = math.ceil(longest / timedelta(hours=1))
    return f"{hours}h" if hours <= 48 else f"{math.ceil(hours / 24)}d"


def _scale(label: npt.NDArray[np.float64]) -> int:
    """The power of ten by which labels become whole numbers of at least a thousand to their standard deviation."""
    known = label[~np.isnan(label)]
    if bool((known == np.round(known)).all()):
        return 1
    return int(10 ** max(0, 3 - math.floor(math.log10(known.std() or 1.0))))


def _notes(profile: Profile, decided: Decided, fields: tuple[Column, ...], label: npt.NDArray[np.float64]) -> Iterator[str]:
    used = {decided.time, *(column.name for column in (*fields, *_kept(profile, decided, fields)))}
    left_out = [column.name for column in profile.columns if column.name not in used]
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
            yield f"{column.name} nearly decides {decided.label.name}: if it is known only with it, begin again with --late {column.name}"


def _says_it_all(profile: Profile, column: Column, label: npt.NDArray[np.float64]) -> bool:
    if column.is_number:
        return worth.correlation(to_float(profile, column.name), label) > SUSPICIOUS
    there = ~np.isnan(label)
    return worth.explained(worth.codes(profile.text[column.name].to_numpy()[there]), label[there]) > SUSPICIOUS
