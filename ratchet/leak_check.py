"""Does any feature, request or label use what was not known yet? Recompute them on sources cut off at an instant, and compare.

The cut-off hides what was not known: a row before its event_time, and before known_at all but its early columns. What was
computed for a moment up to the cut-off must not change by it: of a label, that is the moment from which it counts as known.
The check fails, too, where it hid or compared nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from ratchet.accepted import Accepted
from ratchet.derivation import (
    EVENT_TIMESTAMP,
    LABEL_KNOWN_AT,
    Derivation,
    label_derivation,
    request_derivation,
    view_derivation,
)
from ratchet.progress import counted
from ratchet.project import Project
from ratchet.use_case import ROW_ID, SourceTable

if TYPE_CHECKING:
    import ibis

CutOff = Callable[[SourceTable, "ibis.Table", datetime], "ibis.Table"]
Opened = Callable[[Project, Derivation], Accepted]
"""Where the accepted rows that a derivation reads are found."""
WINDOWS = (timedelta(days=8), timedelta(days=93))
"""How far around a cut-off is compared and read: a leak crosses it. The longer is for what has no row in the shorter, such as a
monthly view."""


@dataclass(frozen=True)
class LeakReport:
    """Over all cut-offs: rows hidden and rows compared, each for the table that had fewest; table → rows that changed."""

    cut_offs: tuple[datetime, ...]
    hidden_rows: int
    compared_rows: int
    changed: dict[str, int]

    @property
    def passed(self) -> bool:
        return self.hidden_rows > 0 and self.compared_rows > 0 and not any(self.changed.values())


@dataclass(frozen=True)
class _Comparison:
    hidden: int = 0
    compared: int = 0
    changed: int = 0


def known_before(table: SourceTable, rows: ibis.Table, at: datetime) -> ibis.Table:
    """The cut-off: what was known of a table's rows strictly before `at`."""
    if table.event_time is None:
        return rows
    return hide(table, rows.filter(rows[table.event_time] < at), at, late_columns(table))


def late_columns(table: SourceTable) -> list[str]:
    """The columns that nobody knows before `known_at`."""
    early = {ROW_ID, table.event_time, *table.early}
    return [name for name in table.stored_schema.names if table.known_at and name not in early]


def hide(table: SourceTable, rows: ibis.Table, at: datetime, columns: Sequence[str]) -> ibis.Table:
    """The rows with these late columns empty where they were not known strictly before `at`."""
    hidden = {name: (rows[table.known_at] < at).ifelse(rows[name], _null(rows[name])) for name in columns}
    return rows.mutate(**hidden) if hidden else rows


@dataclass(frozen=True)
class _Suspect:
    """Rows that may know too much; `moment` names their column that says when all that they follow from was known.

    A view's rows follow from what was known strictly before it, `inclusive` ones from what was known at it, too.
    """

    derivation: Derivation
    moment: str = EVENT_TIMESTAMP
    inclusive: bool = False


def leak_check(
    project: Project, cut_offs: Sequence[datetime], cut: CutOff = known_before, opened: Opened = Accepted.of
) -> LeakReport:
    """Compare views, requests and labels at each cut-off, and look for labels that are known when they are asked for."""
    suspects = _suspects(project)
    found = {
        name: [_compare(opened(project, suspect.derivation), suspect, at, cut) for at in cut_offs]
        for name, suspect in counted(suspects.items(), "leak check", len(suspects))
    }
    changed = {name: sum(one.changed for one in each) for name, each in found.items()}
    return LeakReport(
        cut_offs=tuple(cut_offs),
        hidden_rows=min(sum(one.hidden for one in each) for each in found.values()),
        compared_rows=min(sum(one.compared for one in each) for each in found.values()),
        changed={**changed, "labels": changed["labels"] + labels_known_at_once(project, opened)},
    )


def _suspects(project: Project) -> dict[str, _Suspect]:
    """What may leak: requests, labels, and the views that read more than reference tables.

    A request is asked for at its source row's own event_time. A label may be known long after its request, so that any source
    row may be one of its.
    """
    use_case = project.use_case
    views = {view.name: view_derivation(use_case, view) for view in use_case.views}
    dated = {table.name for table in use_case.tables if not table.is_reference}
    labels = replace(label_derivation(use_case), lookback=None)
    return {
        **{name: _Suspect(view) for name, view in views.items() if dated.intersection(view.reads)},
        "requests": _Suspect(request_derivation(use_case), inclusive=True),
        "labels": _Suspect(labels, LABEL_KNOWN_AT, inclusive=True),
    }


def _compare(accepted: Accepted, suspect: _Suspect, at: datetime, cut: CutOff) -> _Comparison:
    """Compare in the first window that has rows."""
    windows = (_compare_within(window, accepted, suspect, at, cut) for window in WINDOWS)
    return next((found for found in windows if found.compared), _Comparison())


def _compare_within(window: timedelta, accepted: Accepted, suspect: _Suspect, at: datetime, cut: CutOff) -> _Comparison:
    """Compare the rows of the window that ends at `at`, with the cut-off at the last of them.

    There a leak shows best: a source row that became known at that very moment is hidden, or, where such a row may count, one
    that became known just after it.
    """
    derivation, bounds = suspect.derivation, (at - window, at, suspect.moment)
    dates = _source_dates(derivation, at, window)
    accepted.expose(*dates)
    full = accepted.kept(derivation, *bounds)
    last = accepted.value(full[suspect.moment].max())
    if last is None:
        return _Comparison()
    visible = _visible(accepted)
    instant = last + timedelta(microseconds=1) if suspect.inclusive else last
    accepted.expose(*dates, prepare=lambda table, whole: cut(table, whole, instant))
    known = accepted.kept(derivation, *bounds)
    lost, gained = (one.difference(other, distinct=False) for one, other in ((full, known), (known, full)))
    changed = accepted.value(lost.count()) + accepted.value(gained.count())
    return _Comparison(visible - _visible(accepted), accepted.value(full.count()), changed)


def _source_dates(derivation: Derivation, at: datetime, window: timedelta) -> tuple[date | None, date]:
    day = at.astimezone(UTC).date()
    return derivation.source_dates(day - window, day + window)


def _visible(accepted: Accepted) -> int:
    """Source rows of which we know all."""
    columns = {table.name: table.known_at or table.event_time for table in accepted.tables}
    return sum(
        int(accepted.value(accepted.connection.table(name)[column].count()))
        for name, column in columns.items()
        if column
    )


def labels_known_at_once(project: Project, opened: Opened) -> int:
    """Labels not known strictly after the moment of their request."""
    derivation = label_derivation(project.use_case)
    accepted = opened(project, derivation)
    accepted.expose(None, None)
    rows = derivation.expression
    late = rows["label_known_at"] > rows[EVENT_TIMESTAMP]
    return int(accepted.value(rows.filter(~late.fill_null(False)).count()))


def _null(column: ibis.Value) -> ibis.Value:
    import ibis

    return ibis.null(column.type())
