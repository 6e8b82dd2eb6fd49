"""The instant as of which a flow runs."""

from __future__ import annotations

from datetime import datetime

from ratchet.core.schedule import latest_tick
from ratchet.project.run import Pipeline, Run
from ratchet.sources.newest import newest


def default_instant(run: Run, pipeline: Pipeline, scheduled: datetime) -> datetime:
    """The instant that follows from a run's scheduled start, however late it really starts.

    The feature flow works as of its scheduled start, or of the newest that its source holds if that is history. The others work
    as of the last feature run that was scheduled before them, because features go no further.
    """
    if not run.settings.source.history:
        return scheduled if pipeline == "feature" else latest_tick(run.settings.schedules.feature, scheduled)
    return newest(run) if pipeline == "feature" else run.as_of("feature")
