"""The time of which batches scored the requests. A pause of the inference pipeline beyond the fresh window leaves a hole in it.

The rows of the log do not say it: a request that came late has no prediction either, although its time was scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.core.clock import Period, midnight
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import has_requests
from ratchet.features.extent import read_extent
from ratchet.prediction_log.dropped import dropped_before
from ratchet.storage.files import read_json, write_json

if TYPE_CHECKING:
    from ratchet.project.run import Run


def add_scored(file: Path, period: Period) -> None:
    """Remember that the requests of a period were scored. It ends with its last request: more may be delivered later."""
    write_json(file, [as_json(each) for each in _joined([*_read(file), period])])


def unscored(run: Run) -> list[Period]:
    """The holes between the periods that were scored, by whatever model, in which there are requests that can be scored."""
    features, oldest = FeatureStore.open(run), _oldest(run)
    between = (Period(max(one.end, oldest), other.start) for one, other in pairwise(_read(run.paths.scored_file)))
    return [hole for hole in between if hole.start < hole.end and has_requests(features, hole)]


def as_json(period: Period) -> dict[str, str]:
    return {"start": period.start.isoformat(), "end": period.end.isoformat()}


def _oldest(run: Run) -> datetime:
    """From when on a request can be scored, and its prediction is kept. A run needs the features of its whole fresh window."""
    kept, windows = read_extent(run.paths.features), run.settings.windows
    dropped = midnight(dropped_before(run.paths.online_log))
    return max(dropped, kept.start + max(windows.fresh, windows.label_maturity)) if kept else dropped


def _read(file: Path) -> list[Period]:
    """The periods that were scored, in order."""
    held = read_json(file) if file.exists() else []
    return [Period(datetime.fromisoformat(each["start"]), datetime.fromisoformat(each["end"])) for each in held]


def _joined(periods: Iterable[Period]) -> list[Period]:
    """The periods in order, with those that overlap or touch as one."""
    found: list[Period] = []
    for period in sorted(periods, key=lambda each: each.start):
        if found and period.start <= found[-1].end:
            found[-1] = Period(found[-1].start, max(found[-1].end, period.end))
        else:
            found.append(period)
    return found
