"""Does any feature, request or label use what was not known yet? Recompute them on sources cut off at an instant, and compare.

The cut-off hides what was not known: a row before its event_time, and before known_at all but its early columns. What was
computed for a time up to the cut-off must not change by it: of a label, that is the time from which it counts as known.
A table without rows around the given cut-offs, such as a yearly census, is cut off at timestamps of its own rows. The check
fails, too, for a table of which it compared nothing, or hid nothing though there was something to hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from ratchet.core.clock import TICK
from ratchet.core.progress import counted
from ratchet.features.expressions import CompiledExpression, compile_labels, compile_requests, compile_view
from ratchet.features.leak_evidence import LeakComparison, LeakEvidence
from ratchet.features.source_rows import SourceRows
from ratchet.storage.duckdb import quoted, timestamptz
from ratchet.use_case.columns import EVENT_TIMESTAMP, LABEL_KNOWN_AT
from ratchet.use_case.contract import ROW_ID, SourceTable, UseCase

if TYPE_CHECKING:
    import ibis

CutOff = Callable[[SourceTable, "ibis.Table", datetime], "ibis.Table"]
Opened = Callable[[CompiledExpression], SourceRows]
"""A compiled expression → the rows that it reads."""
WINDOWS = (timedelta(days=8), timedelta(days=93))
"""How far around a cut-off is compared and read: a leak crosses it. The longer is for what has no row in the shorter, such as a
monthly view."""
OWN_CUT_OFFS = 3
"""How many timestamps of a table's own rows it is cut off at, where it has no rows around the given cut-offs."""


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
    """Rows that may know too much; `timestamp` names their column that says when all that they follow from was known.

    A view's rows follow from what was known strictly before it, `inclusive` ones from what was known at it, too.
    """

    compiled: CompiledExpression
    timestamp: str = EVENT_TIMESTAMP
    inclusive: bool = False


def leak_check(
    use_case: UseCase, opened: Opened, cut_offs: Sequence[datetime], end: datetime, cut: CutOff = known_before
) -> LeakEvidence:
    """Compare views, requests and labels at cut-offs, and look for labels that are known when they are asked for.

    Where the cut-offs show nothing of a table, it is cut off at timestamps of its own rows before `end`.
    """
    suspects = _suspects(use_case)
    tables = {
        name: _compare(_Trial(opened(suspect.compiled), suspect, cut), cut_offs, end)
        for name, suspect in counted(suspects.items(), "leak check", len(suspects))
    }
    labels, at_once = tables["labels"], labels_known_at_once(use_case, opened)
    tables["labels"] = labels.model_copy(update={"changed": labels.changed + at_once})
    return LeakEvidence(tables=tables)


def _suspects(use_case: UseCase) -> dict[str, _Suspect]:
    """What may leak: requests, labels, and the views that read more than reference tables.

    A request is asked for at its source row's own event_time. A label may be known long after its request, so that any source
    row may be one of its.
    """
    views = {view.name: compile_view(use_case, view) for view in use_case.views}
    dated = {table.name for table in use_case.tables if not table.is_reference}
    labels = replace(compile_labels(use_case), lookback=None)
    return {
        **{name: _Suspect(view) for name, view in views.items() if dated.intersection(view.reads)},
        "requests": _Suspect(compile_requests(use_case), inclusive=True),
        "labels": _Suspect(labels, LABEL_KNOWN_AT, inclusive=True),
    }


@dataclass(frozen=True)
class _Trial:
    """A suspect, the rows that it follows from, and how these are cut off."""

    source_rows: SourceRows
    suspect: _Suspect
    cut: CutOff

    def around(self, at: datetime) -> LeakComparison:
        """Compare in the first window before `at` that has rows."""
        day = at.astimezone(UTC).date()
        windows = (
            self._compare(at - window, at, self.suspect.compiled.source_dates(day - window, day + window))
            for window in WINDOWS
        )
        return next((found for found in windows if found.compared), LeakComparison.nothing())

    def at_own_row(self, at: datetime) -> LeakComparison:
        """Compare the rows up to one of the suspect's own, with all source rows that came later."""
        begin = at - WINDOWS[0]
        day = begin.astimezone(UTC).date()
        return self._compare(begin, at, (self.suspect.compiled.source_dates(day, day)[0], None))

    def own_moments(self, end: datetime) -> list[datetime]:
        """The timestamp of the suspect's last row before `end`, and of earlier ones, as many rows apart."""
        timestamp, compiled = self.suspect.timestamp, self.suspect.compiled
        shares = [(number + 1) / OWN_CUT_OFFS for number in range(OWN_CUT_OFFS)]
        distinct = (
            f"SELECT DISTINCT {timestamp} AS timestamp FROM ({compiled.sql}) WHERE {timestamp} < {timestamptz(end)}"
        )
        self.source_rows.bind(None, None)
        return sorted(set(self.source_rows.value(f"SELECT quantile_disc(timestamp, {shares}) FROM ({distinct})") or ()))

    def _compare(self, after: datetime, until: datetime, dates: tuple[date | None, date | None]) -> LeakComparison:
        """Compare the rows after one instant, up to another, with the cut-off at the last of them.

        There a leak shows best: a source row that became known at that very time is hidden, or, where such a row may count,
        one that became known just after it.
        """
        source_rows, suspect = self.source_rows, self.suspect
        bounds = (suspect.compiled, after, until, suspect.timestamp)
        source_rows.bind(*dates)
        full = source_rows.snapshot(*bounds).get_name()
        last = source_rows.value(f"SELECT max({suspect.timestamp}) FROM {full}")
        if last is None:
            return LeakComparison.nothing()
        instant = last + TICK if suspect.inclusive else last
        later = self._later(instant)
        source_rows.bind(*dates, prepare=lambda table, whole: self.cut(table, whole, instant))
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
        """Source rows that an instant finds unknown, or not known in full."""
        count = 0
        for table in self.source_rows.tables:
            columns = {table.event_time, table.known_at} & {table.event_time, *late_columns(table)}
            unknown = " OR ".join(f"{quoted(column)} >= {timestamptz(instant)}" for column in columns if column)
            count += self.source_rows.value(f"SELECT count(*) FROM {quoted(table.name)} WHERE {unknown or False}")
        return count


def _compare(trial: _Trial, cut_offs: Sequence[datetime], end: datetime) -> LeakComparison:
    """Compare at the given cut-offs; where these show nothing, at some of the suspect's own rows, too."""
    found = LeakComparison.total([trial.around(at) for at in cut_offs])
    if found.compared and found.hidden:
        return found
    return LeakComparison.total([found, *(trial.at_own_row(at) for at in trial.own_moments(end))])


def labels_known_at_once(use_case: UseCase, opened: Opened) -> int:
    """Labels not known strictly after the timestamp of their request."""
    compiled = compile_labels(use_case)
    source_rows = opened(compiled)
    source_rows.bind(None, None)
    late = f"coalesce({LABEL_KNOWN_AT} > {EVENT_TIMESTAMP}, false)"
    return int(source_rows.value(f"SELECT count(*) FROM ({compiled.sql}) WHERE NOT {late}"))


def _null(column: ibis.Value) -> ibis.Value:
    import ibis

    return ibis.null(column.type())
