"""Decide what a file does not say, with a person's answers: label, time, when the label is known, key, entities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pyarrow.compute as pc

from authoring.init.answers import Answers, UnansweredError
from authoring.init.profile import REPEATED, Column, Profile, misfit, named
from authoring.init.time_questions import known_of, time_of, timezone_of
from ratchet.core.text import count_of
from ratchet.sources.declared_table import AS_OF, AT_ONCE, KNOWN_AT
from ratchet.use_case.contract import Task

NONE = "none"


@dataclass(frozen=True)
class Decided:
    """The decisions. All named columns exist, except AS_OF and KNOWN_AT, which the loader adds.

    If rows have no time, `time` is AS_OF and `known_after` is a second. If `known_after` is set, `known_at` is KNOWN_AT.
    `positive` is the label's value that means yes, if the label is not 0 or 1 itself.
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
    """Decide everything. Raises UnansweredError for the first question that has no answer, or a wrong one."""
    label, positive = _label(profile, answers)
    task = _task(profile, label, positive, answers)
    late = tuple(named(profile, name, "late").name for name in answers.late)
    if answers.snapshot:
        key = _key(profile, answers, None)
        who = _entities(profile, answers, {label.name, *late}) if answers.entity else ()
        scattered_by = (*who, *key)[0]
        zone = timezone_of(profile, answers) if answers.timezone else "UTC"
        return Decided(label, positive, task, AS_OF, KNOWN_AT, AT_ONCE, zone, key, (), late, scattered_by)
    time = time_of(profile, answers)
    known_at, known_after = known_of(profile, answers, time)
    zone = timezone_of(profile, answers)
    key = _key(profile, answers, time)
    entities = _entities(profile, answers, {label.name, time, known_at, *late, *(key if len(key) == 1 else ())})
    return Decided(label, positive, task, time, known_at, known_after, zone, key, entities, late)


def _label(profile: Profile, answers: Answers) -> tuple[Column, str | None]:
    """The label's column, and the value that means yes if that is not the number 1."""
    if not answers.label:
        among = [_described(column) for column in profile.labels]
        problem = "nothing says which column is to be predicted" if among else "no column is a number or has two values"
        raise UnansweredError(
            problem, subject=profile.subject, field="label", form="COLUMN, or COLUMN=VALUE", among=among
        )
    name, value = _split(profile, answers.label)
    column = named(profile, name, "label")
    if value is not None and pc.index(profile.given(column.name), value).as_py() < 0:
        raise UnansweredError(
            f"{column.name} is never {value!r}",
            subject=profile.subject,
            field="label",
            form="COLUMN=VALUE",
            among=list(column.counts),
        )
    if value is not None:
        return column, value
    return column, column.yes if column.is_binary and column.kind == "text" else None


def _split(profile: Profile, text: str) -> tuple[str, str | None]:
    """Split COLUMN or COLUMN=VALUE. Both may contain a `=`."""
    names = {name for column in profile.columns for name in (column.header, column.name)}
    places = [place for place, letter in enumerate(text) if letter == "="]
    splits = [(text, None), *((text[:place], text[place + 1 :]) for place in places)]
    return next((split for split in splits if split[0] in names), splits[-1])


def _described(column: Column) -> str:
    return f"{column.name}: {' or '.join(column.counts)}" if column.is_binary else f"{column.name}: a number"


def _task(profile: Profile, label: Column, positive: str | None, answers: Answers) -> Task:
    is_binary = label.is_binary or positive is not None
    task = answers.task or ("binary" if is_binary else "regression")
    if task == "binary" and not is_binary:
        raise UnansweredError(
            f"{label.name} has {label.distinct} values, and a yes or no is to be predicted",
            subject=profile.subject,
            field="label",
            form="COLUMN=VALUE, with the value that means yes",
            among=[f"{label.name}={value}" for value in label.counts],
        )
    if task == "regression" and (positive is not None or not label.is_number):
        if label.is_number:
            problem = f"whether {label.name} is {positive} is a yes or no, and a number is to be predicted"
        else:
            problem = f"{label.name} does not hold numbers alone, but {misfit(profile, label, 'number')}"
        raise UnansweredError(
            problem,
            subject=profile.subject,
            field="label",
            form="COLUMN of numbers, or COLUMN=VALUE for a yes or no",
            among=[f"{label.name}={value}" for value in label.counts],
        )
    if label.impossible:
        problem = f"{label.name} is infinite in {count_of(label.impossible, 'row')}"
        raise UnansweredError(
            problem, subject=profile.subject, field="label", form="COLUMN of finite numbers, or leave such cells empty"
        )
    return task


def _key(profile: Profile, answers: Answers, time: str | None) -> tuple[str, ...]:
    if not answers.key:
        found = profile.keys(must=(time,) if time else ())
        if found:
            return found
        problem = "no column, nor three together, tells the rows apart"
        form = "COLUMN for each column of the key, or number the rows in a column of their own"
        raise UnansweredError(problem, subject=profile.subject, field="key", form=form)
    key = tuple(named(profile, name, "key").name for name in answers.key)
    repeated = profile.repeated(key)
    if repeated > REPEATED * profile.rows:
        problem = f"{repeated} of {profile.rows} rows repeat the key {', '.join(key)} of another, or lack one"
        others = [" ".join(("--key", name)) for name in profile.unique]
        raise UnansweredError(
            problem, subject=profile.subject, field="key", form="COLUMN for each column", among=others
        )
    return key


def _entities(profile: Profile, answers: Answers, taken: set[str]) -> tuple[str, ...]:
    """The columns that say what a row is about, whose values repeat: text or whole numbers."""
    among = [column.name for column in profile.columns if column.name not in taken and _repeats(profile, column)]
    if answers.entity == (NONE,):
        return ()
    chosen = tuple(named(profile, name, "entity").name for name in answers.entity)
    wrong = [name for name in chosen if profile.column(name).kind not in ("whole", "text") or name in taken]
    if wrong:
        problem = (
            f"{wrong[0]} cannot be looked up: an entity is text or a whole number, and neither label, time nor late"
        )
        raise UnansweredError(problem, subject=profile.subject, field="entity", form="COLUMN, or none", among=among)
    if not chosen and len(among) > 1:
        problem = "nothing says who or what a row is about, whose history is to be looked up"
        raise UnansweredError(problem, subject=profile.subject, field="entity", form="COLUMN, or none", among=among)
    return chosen or tuple(among)


def _repeats(profile: Profile, column: Column) -> bool:
    return column.kind in ("whole", "text") and 2 < column.distinct <= profile.rows / 5
