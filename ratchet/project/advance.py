"""Move the as-of instants of a use case."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ratchet.code.git import AS_OF_FILE
from ratchet.core.clock import local_midnight
from ratchet.core.errors import SettingsError, VersionError
from ratchet.core.text import parse_duration
from ratchet.project.as_of import AsOf, read_as_of, write_as_of
from ratchet.project.dvc import between_stages
from ratchet.project.locks import REPOSITORY, WAIT, alone, held
from ratchet.project.run import PIPELINES, Pipeline, Run

_PAUSE = 0.2
"""Seconds until the locks are tried again."""


def parse_instant(text: str, timezone: str) -> datetime:
    """An instant: a local day (`2024-05-01`, the instant at which it begins), or a time with its offset (ISO 8601).

    Raises SettingsError.
    """
    try:
        if len(text) == len("2024-05-01"):
            return local_midnight(date.fromisoformat(text), timezone)
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise SettingsError(
            "is neither a day nor a time with its offset",
            subject=repr(text),
            remedy="Write 2024-05-01 for the instant at which that local day begins, or 2024-05-01T10:00:00Z",
        )
    return instant


def parse_length(text: str) -> timedelta:
    """A length of time. Raises SettingsError."""
    length = parse_duration(text)
    if length is None:
        raise SettingsError("is no length of time", subject=repr(text), remedy="Write 1d, 12h or 30m")
    return length


def advance(
    run: Run, instant: datetime, pipelines: Sequence[Pipeline] = PIPELINES, *, back: bool = False, wait: float = WAIT
) -> Run:
    """Move pipelines to an instant, while none of them runs. Returns the run as of then.

    Raises SettingsError for an instant in the future, before history begins or, unless `back`, before the present one;
    VersionError if a pipeline still runs after `wait` seconds, by a flow, a step or `dvc repro`.
    """
    require_past(run, instant)
    deadline = time.monotonic() + wait
    while True:  # a stage that DVC just begins needs the locks, so they are not held while it is waited for
        try:
            with alone(run, pipelines, wait):
                return move(run, instant, pipelines, back=back, wait=0)
        except VersionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)


def require_past(run: Run, instant: datetime) -> None:
    """Raises SettingsError for an instant in the future: nobody has its data yet."""
    if instant > run.clock.now():
        raise SettingsError(
            f"{instant.isoformat()} is in the future", subject=run.settings.use_case, remedy="Name an earlier instant"
        )


def move(run: Run, instant: datetime, pipelines: Sequence[Pipeline], *, back: bool, wait: float = WAIT) -> Run:
    """Move pipelines, whose locks the caller holds."""
    with held(run.paths.shared_state / REPOSITORY, wait), between_stages(run, pipelines, wait):
        present = read_as_of(run.root, run.settings.use_case)
        if present and not back:
            _require_forward(run, present, instant, pipelines)
        instants = (present or AsOf.at(instant)).model_copy(update=dict.fromkeys(pipelines, instant))
        moved = run.as_of_instants(instants)
        moved.period("all")
        if instants != present:
            write_as_of(run.root, run.settings.use_case, instants)
    return moved


def _require_forward(run: Run, present: AsOf, instant: datetime, pipelines: Sequence[Pipeline]) -> None:
    latest = max(getattr(present, pipeline) for pipeline in pipelines)
    if instant < latest:
        zone = ZoneInfo(run.use_case.timezone)
        raise SettingsError(
            f"is as of {latest.astimezone(zone).isoformat()}, which is later than {instant.astimezone(zone).isoformat()}",
            subject=f"{AS_OF_FILE}: {run.settings.use_case}",
            remedy="Add --back to go back: later features are removed, and computed again when you advance",
        )
