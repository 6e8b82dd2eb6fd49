"""What only a person can say, and how it is asked for: by a flag, or at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ratchet.core.errors import SettingsError
from ratchet.core.text import parse_duration
from ratchet.use_case.contract import Task


@dataclass(frozen=True)
class Answers:
    """As given so far; an empty value was not given. `label` is COLUMN or COLUMN=VALUE, `known_after` such as 30d, and
    `too_good` is why inputs that give the label away are known before it."""

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
    """The file does not say, and nobody has yet: `field` of Answers is open, or what it says will not do.

    `question` is what to ask a person, who may answer in the words of `--{flag}`; `words` asks in others.
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
    """30m, 12h or 30d. Raises UnansweredError."""
    found = parse_duration(text)
    if found is None:
        raise UnansweredError(
            f"{text!r} is no time span", subject=subject, field="known_after", form="such as 30m, 12h or 30d"
        )
    return found
