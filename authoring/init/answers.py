"""What only a person can say. The person gives it by a flag, or answers a question at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ratchet.core.errors import SettingsError
from ratchet.core.text import parse_duration
from ratchet.use_case.contract import Task


@dataclass(frozen=True)
class Answers:
    """The answers so far; an empty value means that there is no answer yet.

    `label` is COLUMN or COLUMN=VALUE, `known_after` is a time span such as 30d. `too_good` is the reason why inputs that give
    the label away are known before it.
    """

    label: str = ""
    task: Task | None = None
    time: str = ""
    snapshot: date | None = None
    known_at: str = ""
    known_after: str = ""
    timezone: str = ""
    key: tuple[str, ...] = ()
    entity: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    too_good: str = ""


class UnansweredError(SettingsError):
    """The file does not say it and no person did: `field` of Answers is empty, or its value is not valid.

    `question` is what to ask a person, who answers as for the flag of that field. `words` replaces `form` in the question.
    """

    def __init__(
        self, problem: str, *, subject: str, field: str, form: str, among: Sequence[str] = (), words: str = ""
    ) -> None:
        flag = "--" + field.replace("_", "-")
        choices = f" ({', '.join(among)})" if among else ""
        super().__init__(problem, subject=subject, remedy=f"Give {flag} {form}{choices}")
        self.field = field
        self.question = f"{problem}. {words or form}{choices}"


def duration(text: str, subject: str) -> timedelta:
    """The time span that a text such as 30m, 12h or 30d means. Raises UnansweredError."""
    found = parse_duration(text)
    if found is None:
        raise UnansweredError(
            f"{text!r} is no time span", subject=subject, field="known_after", form="such as 30m, 12h or 30d"
        )
    return found
