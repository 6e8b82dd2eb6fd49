"""The windows of a use case as of an instant: where training, early stopping, holdout and the fresh part begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ratchet.core.errors import SettingsError
from ratchet.core.settings import PARAMS_FILE, Windows


@dataclass(frozen=True)
class Bounds:
    """The local day on which each window begins; each ends where the next one begins, and `fresh` ends at the as-of instant."""

    train: date
    early_stopping: date
    holdout: date
    fresh: date


def bounds(windows: Windows, as_of: datetime, timezone: str) -> Bounds:
    """Divide the time up to `as_of`. Raises SettingsError if nothing is left to train on.

    Only whole local days are divided. The fresh window is longer than its length by the day that has begun at `as_of`.
    """
    wall_clock = as_of.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    fresh = (wall_clock - max(windows.fresh, windows.label_maturity)).date()
    holdout = fresh - windows.holdout
    early_stopping = holdout - windows.early_stopping
    train = windows.start if windows.training == "expanding" else max(windows.start, holdout - windows.training)
    if train >= early_stopping:
        raise _too_early(windows, as_of, train - early_stopping)
    return Bounds(train, early_stopping, holdout, fresh)


def _too_early(windows: Windows, as_of: datetime, lacking: timedelta) -> SettingsError:
    return SettingsError(
        f"no day before early stopping is left to train on: history begins on {windows.start}, and the data go only up to "
        f"{as_of.isoformat()}",
        subject=f"{PARAMS_FILE}: windows",
        remedy=f"Run `ratchet advance` by at least {lacking.days + 1} days, or shorten the windows",
    )
