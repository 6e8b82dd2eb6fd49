"""What a file leaves open, decided by answers: label, time, when the label is known, key, entities."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo, available_timezones

import numpy as np

from cli.init.answers import Answers, UnansweredError, duration
from cli.init.look import Column, Profile, first_value
from ratchet.csv_source import AS_OF, KNOWN_AT
from ratchet.use_case import Task

NONE = "none"
REPEATED = 0.05
"""A larger share of rows than this without a key of their own means that the key is another one."""
AT_ONCE = timedelta(seconds=1)


@dataclass(frozen=True)
class Decided:
    """Names of columns, all of which exist; `time` is AS_OF and `known_after` a second where rows have no time.

    `positive` is the value of a label that is not 0 or 1 itself. Where `known_after` is set, `known_at` is KNOWN_AT.
    """

    label: Column
    positive: str | None
    task: Task
    time: str
    known_at: str
    known_after: timedelta | None
    timezone: str
    key: tuple[str, ...]
    entities: tuple[str, ...]
    late: tuple[str, ...]
    scattered_by: str = ""


def decide(profile: Profile, answers: Answers) -> Decided:
    """Raises UnansweredError for the first thing that is open, or that an answer got wrong."""
    label, positive = _label(profile, answers)
    task = _task(profile, label, positive, answers)
    late = tuple(_named(profile, name, "late").name for name in answers.late)
    if answers.snapshot:
        key = _key(profile, answers, None)
        who = _entities(profile, answers, {label.name, *late}) if answers.entity else ()
        scattered_by = (*who, *key)[0]
        zone = _timezone(profile, answers) if answers.timezone else "UTC"
        return Decided(label, positive, task, AS_OF, KNOWN_AT, AT_ONCE, zone, key, (), late, scattered_by)
    time = _time(profile, answers)
    known_at, known_after = _known(profile, answers, time)
    zone = _timezone(profile, answers)
    key = _key(profile, answers, time)
    entities = _entities(profile, answers, {label.name, time, known_at, *late, *(key if len(key) == 1 else ())})
    return Decided(label, positive, task, time, known_at, known_after, zone, key, entities, late)


def _named(profile: Profile, text: str, field: str) -> Column:
    """The column of that header or name."""
    found = [column for column in profile.columns if text in (column.header, column.name)]
    if not found:
        names = [column.name for column in profile.columns]
        near = difflib.get_close_matches(text, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UnansweredError(
            f"there is no column {text!r}{hint}", subject=profile.subject, field=field, form="COLUMN", among=names
        )
    return found[0]


def _label(profile: Profile, answers: Answers) -> tuple[Column, str | None]:
    """The label's column, and the value that means yes where it is not the number 1."""
    if not answers.label:
        among = [_described(column) for column in profile.labels]
        problem = "which column is to be predicted?" if among else "no column is a number or has two values"
        raise UnansweredError(
            problem, subject=profile.subject, field="label", form="COLUMN, or COLUMN=VALUE", among=among
        )
    is_column = any(answers.label in (column.header, column.name) for column in profile.columns)
    name, separator, value = (answers.label, "", "") if is_column else answers.label.rpartition("=")
    column = _named(profile, name if separator else answers.label, "label")
    if separator and value not in column.counts:
        raise UnansweredError(
            f"{column.name} is never {value!r}",
            subject=profile.subject,
            field="label",
            form="COLUMN=VALUE",
            among=list(column.counts),
        )
    if separator:
        return column, value
    return column, column.yes if column.is_binary and column.kind == "text" else None


def _described(column: Column) -> str:
    return f"{column.name}: {' or '.join(column.counts)}" if column.is_binary else f"{column.name}: a number"


def _task(profile: Profile, label: Column, positive: str | None, answers: Answers) -> Task:
    is_binary = label.is_binary or positive is not None
    wished = answers.task or ("binary" if is_binary else "regression")
    if wished == "binary" and not is_binary:
        raise UnansweredError(
            f"{label.name} has {label.distinct} values, and a yes or no is to be predicted",
            subject=profile.subject,
            field="label",
            form="COLUMN=VALUE, with the value that means yes",
            among=[f"{label.name}={value}" for value in label.counts],
        )
    if wished == "regression" and (positive is not None or not label.is_number):
        raise UnansweredError(
            f"{label.name} is no number",
            subject=profile.subject,
            field="label",
            form="COLUMN of numbers, or COLUMN=VALUE for a yes or no",
            among=[f"{label.name}={value}" for value in label.counts],
        )
    return wished


def _time(profile: Profile, answers: Answers) -> str:
    """The column that says when a prediction would have been asked for."""
    if answers.time:
        return _instant(profile, answers.time, "time")
    known = _instant(profile, answers.known_at, "known_at") if answers.known_at else ""
    names = [column.name for column in profile.times if column.name != known]
    if not names:
        raise UnansweredError(
            "no column says when a row was known. Set its time by --time and --known-at or --known-after, if there is one; "
            "with a snapshot date instead, rows are split by entity, and the gate record will carry 'no time evidence'",
            subject=profile.subject,
            field="snapshot",
            form="YYYY-MM-DD, the day on which the file was made",
        )
    if len(names) > 1:
        problem = "which column says when a prediction would have been asked for?"
        raise UnansweredError(problem, subject=profile.subject, field="time", form="COLUMN", among=names)
    return names[0]


def _instant(profile: Profile, text: str, field: str) -> str:
    column = _named(profile, text, field)
    if column.kind != "time":
        raise UnansweredError(
            f"{column.name} holds no times, but {first_value(profile, column.name)!r}; a time is written 2024-01-31 or "
            "2024-01-31T18:30:00",
            subject=profile.subject,
            field=field,
            form="COLUMN",
            among=[other.name for other in profile.times],
        )
    return column.name


def _known(profile: Profile, answers: Answers, time: str) -> tuple[str, timedelta | None]:
    """The column that says when the label was known, or how long after `time` it is."""
    if answers.known_after:
        if any(column.name == KNOWN_AT for column in profile.columns):
            problem = f"the file has a column {KNOWN_AT} of its own, and the delay would be another"
            raise UnansweredError(problem, subject=profile.subject, field="known_at", form="COLUMN", among=[KNOWN_AT])
        return KNOWN_AT, duration(answers.known_after, profile.subject)
    later = [column.name for column in profile.times if column.name != time and _is_later(profile, column.name, time)]
    if not answers.known_at:
        raise UnansweredError(
            f"nothing says how long after {time} the label is known",
            subject=profile.subject,
            field="known_after",
            form="such as 30m, 12h or 30d; or --known-at COLUMN",
            among=later,
        )
    known_at = _instant(profile, answers.known_at, "known_at")
    if known_at not in later:
        problem = f"{known_at} is not later than {time} in most rows, as the moment when the label is known must be"
        raise UnansweredError(problem, subject=profile.subject, field="known_at", form="COLUMN", among=later)
    return known_at, None


def _is_later(profile: Profile, name: str, time: str) -> bool:
    """In at least nine of ten rows that have both."""
    spans = profile.values(name).to_numpy() - profile.values(time).to_numpy()
    spans = spans[~np.isnat(spans)]
    return len(spans) > 0 and bool((spans > np.timedelta64(0)).mean() >= 0.9)


def _timezone(profile: Profile, answers: Answers) -> str:
    zones = available_timezones()
    if answers.timezone not in zones:
        near = difflib.get_close_matches(answers.timezone, sorted(zones), n=3)
        problem = (
            f"there is no time zone {answers.timezone!r}" if answers.timezone else "nothing says where its clocks are"
        )
        form = "ZONE, such as Europe/Berlin or UTC"
        raise UnansweredError(problem, subject=profile.subject, field="timezone", form=form, among=near)
    return str(ZoneInfo(answers.timezone))


def _key(profile: Profile, answers: Answers, time: str | None) -> tuple[str, ...]:
    if not answers.key:
        found = profile.keys(must=(time,) if time else ())
        if found:
            return found
        problem = "no column, nor three together, tells the rows apart"
        form = "COLUMN for each column of the key, or number the rows in a column of their own"
        raise UnansweredError(problem, subject=profile.subject, field="key", form=form)
    key = tuple(_named(profile, name, "key").name for name in answers.key)
    repeated = profile.repeated(key)
    if repeated > REPEATED * profile.rows:
        problem = f"{repeated} of {profile.rows} rows repeat the key {', '.join(key)} of another, or lack one"
        others = [" ".join(("--key", name)) for name in profile.unique]
        raise UnansweredError(
            problem, subject=profile.subject, field="key", form="COLUMN for each column", among=others
        )
    return key


def _entities(profile: Profile, answers: Answers, taken: set[str]) -> tuple[str, ...]:
    """What rows are about, again and again: text or whole numbers that repeat."""
    among = [column.name for column in profile.columns if column.name not in taken and _repeats(profile, column)]
    if answers.entity == (NONE,):
        return ()
    chosen = tuple(_named(profile, name, "entity").name for name in answers.entity)
    wrong = [name for name in chosen if profile.column(name).kind not in ("whole", "text") or name in taken]
    if wrong:
        problem = (
            f"{wrong[0]} cannot be looked up: an entity is text or a whole number, and neither label, time nor late"
        )
        raise UnansweredError(problem, subject=profile.subject, field="entity", form="COLUMN, or none", among=among)
    if not chosen and len(among) > 1:
        problem = "which column says who or what a row is about, whose history is to be looked up?"
        raise UnansweredError(problem, subject=profile.subject, field="entity", form="COLUMN, or none", among=among)
    return chosen or tuple(among)


def _repeats(profile: Profile, column: Column) -> bool:
    return column.kind in ("whole", "text") and 2 < column.distinct <= profile.rows / 5
