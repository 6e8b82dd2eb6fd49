"""Plan a use case from a file and the decisions about it: request, inputs, windows, baseline, slices, block and windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from authoring.init import baseline, periods
from authoring.init.delay import delay_of
from authoring.init.explained_variance import Floats
from authoring.init.periods import Chosen
from authoring.init.profile import REPEATED, Column, Profile
from authoring.init.questions import Decided
from authoring.init.warnings import impossible, notes, outliers, weak_baseline
from ratchet.core.clock import Instants, local_time
from ratchet.core.errors import SourceError

TIMES = ("hour", "weekday")
"""The columns that `ratchet.core.clock.calendar` returns."""
WINDOWS = (("1d", "7d"), ("7d", "28d"), ("28d", "84d"), ("91d", "364d"))
SLICES = 8


Timestamps = tuple[Instants, Instants]
"""The local times of each row's request, and of when its label was known."""


@dataclass(frozen=True)
class Plan:
    """Everything that the text of a use case needs.

    `labelled` is the share of rows with a label in the file or in the holdout, whichever is less. `fields` are the columns of a
    request except its time, `kept` the other columns of the table. `bands` cut a number into groups for the baseline. `scale`
    turns labels into whole numbers, whose sums are exact. `notes` are for the person.
    """

    name: str
    rows: int
    labelled: float
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
    """Plan a use case. Raises SettingsError if there are too few rows, SourceError if too many values are impossible."""
    label = label_values(profile, decided)
    fields, not_inputs = request_columns(profile, decided)
    kept = _kept(profile, decided, fields)
    used = (*fields, *kept) if snapshot else (*fields, *kept, profile.column(decided.time))
    _check_possible(profile, used)
    timestamps = None if snapshot else _asked_and_known(profile, decided)
    asked = timestamps[0] if timestamps else None
    windows = WINDOWS[0] if asked is None else _windows(asked)
    warm_up = timedelta(days=int(windows[1][:-1]) if decided.entities else 0)
    chosen = _chosen(profile, label, timestamps, warm_up, snapshot)
    calendar = tuple(_calendar(fields, asked))
    inputs = [column for column in fields if column.name not in not_inputs]
    measured_by = baseline.choose(profile, inputs, decided.entities, calendar, asked, label)
    return Plan(
        name=name,
        rows=profile.rows,
        labelled=min(float((~np.isnan(label)).mean()), chosen.holdout_rows / chosen.holdout_requests),
        decided=decided,
        fields=fields,
        kept=kept,
        not_inputs=not_inputs,
        calendar=calendar,
        bands=measured_by.bands,
        windows=windows,
        tile="1h" if "hour" in calendar else "1d",
        delay=delay_of(profile, decided).text,
        scale=_scale(label),
        baseline=measured_by.by,
        slices=_slices(profile, fields, chosen),
        block=_block(decided, chosen),
        chosen=chosen,
        notes=(
            *notes(profile, decided, fields, kept, label),
            *impossible(used),
            *outliers(profile, decided),
            *weak_baseline(name, decided, measured_by),
        ),
    )


def _check_possible(profile: Profile, columns: tuple[Column, ...]) -> None:
    """Raise SourceError for many impossible values, which must have a meaning. Rows with a few of them are quarantined."""
    found = [column for column in columns if column.impossible > REPEATED * profile.rows]
    if found:
        counts = " and ".join(f"{column.name} is {column.why_impossible} in {column.impossible:,}" for column in found)
        raise SourceError(
            f"{counts} of {profile.rows:,} rows",
            subject=profile.subject,
            remedy="Leave such cells empty, or write the value that they mean",
        )


def label_values(profile: Profile, decided: Decided) -> Floats:
    """The label as numbers, NaN where it is not known."""
    if decided.positive is None:
        return profile.numbers(decided.label.name)
    text = profile.given(decided.label.name)
    return np.where(text.is_null().to_numpy(), np.nan, text.to_numpy() == decided.positive)


def _asked_and_known(profile: Profile, decided: Decided) -> Timestamps:
    asked = profile.values(decided.time, decided.timezone).to_numpy()
    if decided.known_after:
        known = asked + np.timedelta64(decided.known_after)
    else:
        known = profile.values(decided.known_at, decided.timezone).to_numpy()
    return local_time(asked, decided.timezone), local_time(known, decided.timezone)


def _windows(asked: Instants) -> tuple[str, str]:
    """The longest pair of windows for which the file spans ten times as many days."""
    near = asked[~np.isnat(asked) & ~periods.is_far(asked)]
    days = float((near.max() - near.min()) / periods.DAY)
    return next((each for each in reversed(WINDOWS) if int(each[1][:-1]) <= days / 10), WINDOWS[0])


def _chosen(
    profile: Profile, label: Floats, timestamps: Timestamps | None, warm_up: timedelta, snapshot: date | None
) -> Chosen:
    unknown = np.isnan(label)
    if timestamps is None:
        assert snapshot is not None
        return periods.from_snapshot(snapshot, int((~unknown).sum()), profile.subject)
    asked, known = (each.astype("datetime64[D]") for each in timestamps)
    return periods.from_times(asked, np.where(unknown, np.datetime64("NaT", "D"), known), warm_up, profile.subject)


def request_columns(profile: Profile, decided: Decided) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """The columns that a caller knows, and those of them that are no inputs: names with too many values to learn from."""
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
    """The columns of the table that are not in a request, in the file's order."""
    wanted = {decided.label.name, decided.known_at, *decided.key}
    asked = {decided.time, *(column.name for column in fields)}
    return tuple(column for column in profile.columns if column.name in wanted - asked)


def _calendar(fields: tuple[Column, ...], asked: Instants | None) -> Iterator[str]:
    """Which of TIMES can be computed from a timestamp and are not columns of the file already."""
    if asked is None:
        return
    names = {column.name for column in fields}
    given = asked[~np.isnat(asked)]
    has_hours = bool((given != given.astype("datetime64[D]")).any())
    if has_hours and "hour" not in names:
        yield "hour"
    if "weekday" not in names:
        yield "weekday"


def _slices(profile: Profile, fields: tuple[Column, ...], chosen: Chosen) -> tuple[str, ...]:
    """The column with the fewest values, if each of its values has enough rows in the holdout to be evaluated separately."""
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
    """`day` if the holdout has enough days, else the first entity: rows of one block resemble each other."""
    if decided.scattered_by:
        return decided.scattered_by
    return "day" if chosen.holdout_days >= 7 or not decided.entities else decided.entities[0]


def _scale(label: Floats) -> int:
    """The power of ten by which labels are multiplied: it makes their standard deviation at least a thousand."""
    known = label[~np.isnan(label)]
    if bool((known == np.round(known)).all()):
        return 1
    return int(10 ** max(0, 3 - math.floor(math.log10(known.std() or 1.0))))
