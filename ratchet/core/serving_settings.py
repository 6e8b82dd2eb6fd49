"""How the online service answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, FiniteFloat

from ratchet.core.frozen import Frozen
from ratchet.core.lengths import Length


class RolloutSettings(Frozen):
    """Who gets the answers of a challenger, and when it is taken back.

    If `by_policy`, a superior version is not promoted at once, but begins to be rolled out, and a person advances it.
    The values of the request's columns `sticky_by` decide; if none is named, those by which features are looked up. After
    `min_answers` in a process, a challenger is taken back if more than the share `max_failures` failed, or if its slow answers
    take more than `max_slowdown` times as long as the champion's.
    """

    by_policy: bool = False
    sticky_by: tuple[str, ...] = ()
    min_answers: int = Field(100, ge=1)
    max_failures: FiniteFloat = Field(0.01, ge=0, le=1)
    max_slowdown: FiniteFloat = Field(2.0, ge=1)


class ServingSettings(Frozen):
    """How the online service answers when features, or the disk, are not as they should be.

    Features that are too old, or newer than the request, are used as long as that is by no more than `tolerance`. Beyond it,
    the baseline answers. If a prediction cannot be logged, `unlogged` says whether it is refused, or served and counted. A
    request with a caller's key is always refused then.

    Up to `batch_rows` rows of requests that come while the model is busy are predicted together; if it is 1, each request is
    predicted at once. That pays for slow models.
    """

    tolerance: Length = timedelta(minutes=5)
    unlogged: Literal["refuse", "serve"] = "refuse"
    batch_rows: int = Field(1, ge=1, le=1000)
    rollout: RolloutSettings = RolloutSettings()
