"""Folders named after the UTC dates of their rows: `date=2024-01-31`, `date=2024-01-31,2024-02-09`, `month=2024-01`."""

from __future__ import annotations

from calendar import monthrange
from datetime import date


def date_folder(day: date, *counts_from: date) -> str:
    """The folder of the rows of a date; if they count from later ones only, those are named too."""
    return f"date={','.join(dict.fromkeys(map(str, (day, *counts_from))))}"


def month_folder(first: date) -> str:
    """The folder of the rows of the month that begins on a date."""
    return f"month={first:%Y-%m}"


def folder_dates(path: str) -> list[date]:
    """The dates of a path, from its first folder; none if that has no such name."""
    folder, is_within, _ = path.partition("/")
    kind, _, value = folder.partition("=")
    if is_within and kind == "month":
        year, month = map(int, value.split("-"))
        return [date(year, month, day + 1) for day in range(monthrange(year, month)[1])]
    return [date.fromisoformat(day) for day in value.split(",")] if is_within and kind == "date" else []


def folder_date(path: str) -> date | None:
    """The first of them; None if there is none."""
    return next(iter(folder_dates(path)), None)
