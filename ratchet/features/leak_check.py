"""Does a feature, request or label use data not known yet? Recompute it on sources cut off at an instant, and compare.

The cut-off hides everything that could not be used yet. For a request that is a row before its event_time, and all but its
early columns before known_at. A view may use rows only from when serving had them. Results for times up to the cut-off must
not change by it; the time of a label is the one from which it counts as known.
A table without rows around the given cut-offs, such as a yearly census, is cut off at timestamps of its own rows. The check
also fails for a table if it compared no rows, or if it hid none although some were to be hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ratchet.core.clock import TICK
from ratchet.core.progress import counted
from ratchet.features.expressions import CompiledExpression, compile_labels, compile_requests, compile_view
from ratchet.features.leak_evidence import LeakComparison, LeakEvidence
from ratchet.features.source_rows import SourceRows
from ratchet.storage.sql import quoted, timestamptz
from ratchet.use_case.columns import ARRIVED_AT, AVAILABLE_AT, EARLY_AVAILABLE_AT, EVENT_TIMESTAMP, LABEL_KNOWN_AT
from ratchet.use_case.contract import ROW_KEY, SourceTable, UseCase

if TYPE_CHECKING:
    import ibis

Use = Literal["view", "example", "arrived_label"]
"""What computed rows are for: it decides from when on they may use a source row. Requests and labels are parts of examples."""
CutOff = Callable[[SourceTable, "ibis.Table", datetime, Use], "ibis.Table"]
Opened = Callable[[CompiledExpression], SourceRows]
"""A compiled expression → the rows that it reads."""
WINDOWS = (timedelta(days=8), timedelta(days=93))
"""How far around a cut-off rows are read and compared. The longer window is for tables without rows in the shorter one, such
as a monthly view."""
OWN_CUT_OFFS = 3
"""At how many timestamps of its own rows a table is cut off if it has no rows around the given cut-offs."""


def known_before(table: SourceTable, rows: ibis.Table, at: datetime, use: Use) -> ibis.Table:
    """The cut-off: the part of a table's rows that could be used before `at`."""
    if table.is_reference:
        return rows
    return hide(table, rows.filter(rows[_usable_from(table, use)[0]] < at), at, late_columns(table), use)


def late_columns(table: SourceTable) -> list[str]:
    """The columns that are unknown before `known_at`."""
    early = {ROW_KEY, table.event_time, *table.early, EARLY_AVAILABLE_AT}
    return [name for name in table.accepted_schema.names if table.known_at and name not in early]


def hide(table: SourceTable, rows: ibis.Table, at: datetime, columns: Sequence[str], use: Use) -> ibis.Table:
    """The rows with null in these late columns, unless the whole row could be used before `at`."""
    whole = rows[_usable_from(table, use)[1]] < at
    hidden = {name: whole.ifelse(rows[name], _null(rows[name])) for name in columns}
    return rows.mutate(**hidden) if hidden else rows


def _usable_from(table: SourceTable, use: Use) -> tuple[str, str]:
    """The columns that say from when on early columns may be used, and from when on the whole row."""
    event_time = table.event_time or ""
    if use == "view":
        return EARLY_AVAILABLE_AT if table.early else AVAILABLE_AT, AVAILABLE_AT
    if use == "arrived_label":
        return event_time if table.known_at else ARRIVED_AT, ARRIVED_AT
    return event_time, table.known_at or event_time


@dataclass(frozen=True)
class _Suspect:
    """Computed rows that may use too much. `timestamp` names their column with the time up to which they may use data."""

    compiled: CompiledExpression
    use: Use
    timestamp: str = EVENT_TIMESTAMP


def leak_check(
    use_case: UseCase,
    opened: Opened,
    cut_offs: Sequence[datetime],
    end: datetime,
    cut: CutOff = known_before,
    label_use: Use = "example",
) -> LeakEvidence:
    """Compare views, requests and labels at cut-offs, and count labels that were already known when their request was made.

    With `label_use="arrived_label"`, a label may use a row only once it has arrived. That needs rows of which none came late: a
    row that did changes labels that counted as known, such as that nobody had cancelled, without any fault of the use case.
    A table for which the cut-offs show nothing is cut off at timestamps of its own rows before `end`.
    """
    suspects = _suspects(use_case, label_use)
    tables = {
        name: _compare(_Trial(opened(suspect.compiled), suspect, cut), cut_offs, end)
        for name, suspect in counted(suspects.items(), "leak check", len(suspects))
    }
    labels, at_once = tables["labels"], labels_known_at_once(use_case, opened)
    tables["labels"] = labels.model_copy(update={"changed": labels.changed + at_once})
    return LeakEvidence(tables=tables, upstream=tuple(sorted(view.name for view in use_case.views if view.upstream)))


def _suspects(use_case: UseCase, label_use: Use) -> dict[str, _Suspect]:
    """Everything that may leak: requests, labels, and the views that read a table that is not a reference table.

    A request is made exactly at its source row's event_time. A label may be known long after its request, so it may depend on
    a source row of any age.
    """
    views = {view.name: compile_view(use_case, view) for view in use_case.views}
    dated = {table.name for table in use_case.tables if not table.is_reference}
    labels = replace(compile_labels(use_case), lookback=None)
    return {
        **{name: _Suspect(view, "view") for name, view in views.items() if dated.intersection(view.reads)},
        "requests": _Suspect(compile_requests(use_case), "example"),
        "labels": _Suspect(labels, label_use, LABEL_KNOWN_AT),
    }


@dataclass(frozen=True)
class _Trial:
    """A suspect, the source rows that it is computed from, and the function that cuts these off."""

    source_rows: SourceRows
    suspect: _Suspect
    cut: CutOff

    def around(self, at: datetime) -> LeakComparison:
        """Compare the rows of the shortest window before `at` that has any."""
        day = at.astimezone(UTC).date()
        windows = (
            self._compare(at - window, at, self.suspect.compiled.source_dates(day - window, day + window))
            for window in WINDOWS
        )
        return next((found for found in windows if found.compared), LeakComparison.nothing())

    def at_own_row(self, at: datetime) -> LeakComparison:
        """Compare the rows up to the timestamp of one of the suspect's own rows; all later source rows are read, too."""
        begin = at - WINDOWS[0]
        day = begin.astimezone(UTC).date()
        return self._compare(begin, at, (self.suspect.compiled.source_dates(day, day)[0], None))

    def own_timestamps(self, end: datetime) -> list[datetime]:
        """The timestamp of the suspect's last row before `end`, and of earlier rows at equal distances in rows."""
        timestamp, compiled = self.suspect.timestamp, self.suspect.compiled
        shares = [(number + 1) / OWN_CUT_OFFS for number in range(OWN_CUT_OFFS)]
        distinct = (
            f"SELECT DISTINCT {timestamp} AS timestamp FROM ({compiled.sql}) WHERE {timestamp} < {timestamptz(end)}"
        )
        self.source_rows.bind(None, None)
        return sorted(set(self.source_rows.value(f"SELECT quantile_disc(timestamp, {shares}) FROM ({distinct})") or ()))

    def _compare(self, after: datetime, until: datetime, dates: tuple[date | None, date | None]) -> LeakComparison:
        """Compare the rows in (`after`, `until`], with the cut-off at the timestamp of the last of them.

        A leak shows best there: a source row that may be used only just after that time is hidden.
        """
        source_rows, suspect = self.source_rows, self.suspect
        bounds = (suspect.compiled, after, until, suspect.timestamp)
        source_rows.bind(*dates)
        full = source_rows.snapshot(*bounds).get_name()
        last = source_rows.value(f"SELECT max({suspect.timestamp}) FROM {full}")
        if last is None:
            return LeakComparison.nothing()
        instant = last + TICK
        later = self._later(instant)
        source_rows.bind(*dates, prepare=lambda table, whole: self.cut(table, whole, instant, suspect.use))
        known = source_rows.snapshot(*bounds).get_name()
        return LeakComparison(
            cut_offs=(until,),
            compared=source_rows.value(f"SELECT count(*) FROM {full}"),
            later=later,
            hidden=later - self._later(instant),
            changed=sum(
                source_rows.value(f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})")
                for one, other in ((full, known), (known, full))
            ),
        )

    def _later(self, instant: datetime) -> int:
        """The number of source rows that could not be used, or not fully, before an instant."""
        count = 0
        for table in self.source_rows.tables:
            columns = [] if table.is_reference else sorted({*_usable_from(table, self.suspect.use)})
            unusable = " OR ".join(f"{quoted(column)} >= {timestamptz(instant)}" for column in columns)
            count += self.source_rows.value(f"SELECT count(*) FROM {quoted(table.name)} WHERE {unusable or False}")
        return count


def _compare(trial: _Trial, cut_offs: Sequence[datetime], end: datetime) -> LeakComparison:
    """Compare at the given cut-offs and, if these show nothing, also at some of the suspect's own rows."""
    found = LeakComparison.total([trial.around(at) for at in cut_offs])
    if found.compared and found.hidden:
        return found
    return LeakComparison.total([found, *(trial.at_own_row(at) for at in trial.own_timestamps(end))])


def labels_known_at_once(use_case: UseCase, opened: Opened) -> int:
    """The number of labels that did not become known strictly after the timestamp of their request."""
    compiled = compile_labels(use_case)
    source_rows = opened(compiled)
    source_rows.bind(None, None)
    late = f"coalesce({LABEL_KNOWN_AT} > {EVENT_TIMESTAMP}, false)"
    return int(source_rows.value(f"SELECT count(*) FROM ({compiled.sql}) WHERE NOT {late}"))


def _null(column: ibis.Value) -> ibis.Value:
    import ibis

    return ibis.null(column.type())
