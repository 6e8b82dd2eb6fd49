"""Decide which columns say when a prediction is made and when its label is known, and in which time zone."""

from __future__ import annotations

import difflib
from datetime import timedelta
from zoneinfo import available_timezones

import numpy as np

from authoring.init.answers import Answers, UnansweredError, duration
from authoring.init.profile import Column, Profile, is_nearly, misfit, named
from ratchet.core.errors import SourceError
from ratchet.sources.declared_table import KNOWN_AT


def time_of(profile: Profile, answers: Answers) -> str:
    """The column that says when a prediction would have been requested."""
    if answers.time:
        return _instant(profile, answers.time, "time")
    known = _instant(profile, answers.known_at, "known_at") if answers.known_at else ""
    names = [column.name for column in profile.times if column.name != known]
    if not names:
        _check_cells(profile, known)
        raise UnansweredError(
            "no column says when a row was known. Set its time by --time and --known-at or --known-after, if there is one; "
            "with a snapshot date instead, rows are split by entity, and the gate record will carry 'no time evidence'",
            subject=profile.subject,
            field="snapshot",
            form="YYYY-MM-DD, the day on which the file was made",
        )
    if len(names) > 1:
        problem = "nothing says at which of its times a prediction would have been asked for"
        raise UnansweredError(problem, subject=profile.subject, field="time", form="COLUMN", among=names)
    return names[0]


def _instant(profile: Profile, text: str, field: str) -> str:
    column = named(profile, text, field)
    if column.kind != "time":
        if is_nearly(profile, column, "time"):
            raise _bad_cell(profile, column)
        raise UnansweredError(
            _no_times(profile, column),
            subject=profile.subject,
            field=field,
            form="COLUMN",
            among=[other.name for other in profile.times],
        )
    return column.name


def _check_cells(profile: Profile, known_at: str) -> None:
    """Raises SourceError for a column of times in which a few cells are not times."""
    for column in profile.columns:
        if column.name != known_at and column.kind != "time" and is_nearly(profile, column, "time"):
            raise _bad_cell(profile, column)


def _bad_cell(profile: Profile, column: Column) -> SourceError:
    remedy = "Fix that cell and similar ones in the file, or leave them empty"
    return SourceError(_no_times(profile, column), subject=profile.subject, remedy=remedy)


def _no_times(profile: Profile, column: Column) -> str:
    found = misfit(profile, column, "time")
    return f"{column.name} does not hold times alone, but {found}; a time is written 2024-01-31 or 2024-01-31T18:30:00"


def known_of(profile: Profile, answers: Answers, time: str) -> tuple[str, timedelta | None]:
    """The column that says when the label was known, or the time span from `time` until it is known."""
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
        problem = f"{known_at} is not later than {time} in most rows, as the timestamp when the label is known must be"
        field, form = ("known_at", "COLUMN") if later else ("known_after", "such as 30m, 12h or 30d")
        raise UnansweredError(problem, subject=profile.subject, field=field, form=form, among=later)
    return known_at, None


def _is_later(profile: Profile, name: str, time: str) -> bool:
    """Whether it is later than `time` in at least nine of ten rows that have both."""
    spans = profile.values(name).to_numpy() - profile.values(time).to_numpy()
    spans = spans[~np.isnat(spans)]
    return len(spans) > 0 and bool((spans > np.timedelta64(0, "us")).mean() >= 0.9)


def timezone_of(profile: Profile, answers: Answers) -> str:
    zones = available_timezones()
    if answers.timezone not in zones:
        near = difflib.get_close_matches(answers.timezone, sorted(zones), n=3)
        problem = (
            f"there is no time zone {answers.timezone!r}" if answers.timezone else "nothing says where its clocks are"
        )
        form = "ZONE, such as Europe/Berlin or UTC"
        raise UnansweredError(problem, subject=profile.subject, field="timezone", form=form, among=near)
    return answers.timezone
