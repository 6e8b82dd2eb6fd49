"""Views that do not fit the schedule on which features are computed, or the lag with which their tables are delivered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from authoring.check.finding import Finding
from authoring.check.source_lines import Declaration
from ratchet.core.schedule import longest_wait
from ratchet.core.text import format_duration
from ratchet.features.expressions import compile_view
from ratchet.project.run import Run
from ratchet.use_case.contract import View


def check_schedule(run: Run, where: Declaration) -> Iterator[Finding]:
    """Compare tile and max_age of each view with how long the online store waits for new rows."""
    wait = longest_wait(run.settings.schedules.feature, run.as_of("feature"))
    for view in run.use_case.views:
        if view.tile and view.tile < wait:
            yield _tile(run, view, view.tile, wait, where)
        lag = _lag(run, view)
        if view.max_age and lag is not None and view.max_age < wait + lag:
            yield _max_age(view, view.max_age, (wait, lag), where)


def _lag(run: Run, view: View) -> timedelta | None:
    """The shortest lag of the tables or files that a view reads; None if these are only reference tables."""
    if view.upstream:
        return view.upstream.lag
    tables = [run.use_case.table(name) for name in compile_view(run.use_case, view).reads]
    return min((run.delivery(table.name).lag for table in tables if not table.is_reference), default=None)


def _tile(run: Run, view: View, tile: timedelta, wait: timedelta, where: Declaration) -> Finding:
    return Finding(
        "tile-and-schedule",
        where.view(view.name, "tile"),
        f"view {view.name!r} counts in tiles of {format_duration(tile)}, but features are computed only every "
        f"{format_duration(wait)} ({run.settings.schedules.feature!r}). A row counts from the run that sees it, so shorter "
        "tiles change nothing, and a window holds more just after a run than just before it",
        "Use a tile as long as the time between two runs, or set `schedules.feature` in params.yaml to run once a tile",
    )


def _max_age(view: View, max_age: timedelta, waits: tuple[timedelta, timedelta], where: Declaration) -> Finding:
    wait, lag = map(format_duration, waits)
    return Finding(
        "max-age-too-short",
        where.view(view.name, "max_age"),
        f"view {view.name!r} is too old after {format_duration(max_age)}, but new rows come only every {wait}, with a lag of "
        f"{lag}: between two runs, requests find nothing there",
        "Set `max_age` to longer than both together, or run the feature pipeline more often (`schedules.feature`)",
    )
