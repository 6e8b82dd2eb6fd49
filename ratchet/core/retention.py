"""What may be dropped: not before the windows no longer need it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ratchet.core.settings import Retention, Windows

_BEGUN = timedelta(days=2)
"""The local day that has begun at an instant is part of the fresh window, and a local day is part of two UTC dates."""


def problem_of(retention: Retention, windows: Windows) -> str | None:
    """Why the windows need more than is kept; None if they do not."""
    fresh = max(windows.fresh, windows.label_maturity) + _BEGUN
    if retention.predictions is not None and retention.predictions < fresh:
        return f"predictions: models are monitored on the fresh window, which needs {fresh.days}d"
    if retention.features is None:
        return None
    if windows.training == "expanding":
        return (
            "features: the training window is expanding and needs all features: set windows.training to a length, or leave "
            "retention.features out"
        )
    needed = fresh + windows.holdout + windows.training
    if retention.features < needed:
        return f"features: the windows for training, holdout and fresh rows need {needed.days}d, and more where runs are late"
    return None
