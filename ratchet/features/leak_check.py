"""Does any feature, request or label use what was not known yet? Recompute them on sources cut off at an instant, and compare.

The cut-off hides what was not known: a row before its event_time, and before known_at all but its early columns. What was
computed for a moment up to the cut-off must not change by it: of a label, that is the moment from which it counts as known.
A table without rows around the given cut-offs, such as a yearly census, is cut off at timestamps of its own rows. The check
fails, too, for a table of which it compared nothing, or hid nothing though there was something to hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from ratchet.core.clock import TICK
from ratchet.core.progress import counted
from ratchet.features.expressions import Derivation, label_derivation, request_derivation, view_derivation
from ratchet.features.leak_evidence import LeakComparison, LeakEvidence
from ratchet.features.source_rows import Accepted
from ratchet.project.project import Project
from ratchet.storage.partitions import timestamptz
from ratchet.use_case.columns import EVENT_TIMESTAMP, LABEL_KNOWN_AT
from ratchet.use_case.contract import ROW_ID, SourceTable

if TYPE_CHECKING:
    import ibis

CutOff = Callable[[SourceTable, "ibis.Table", datetime], "ibis.Table"]
Opened = Callable[[Project, Derivation], Accepted]
"""Where the accepted rows that a derivation reads are found."""
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
    """Rows that may know too much; `moment` names their column that says when all that they follow from was known.

    A view's rows follow from what was known strictly before it, `inclusive` ones from what was known at it, too.
    """

    derivation: Derivation
    moment: str = EVENT_TIMESTAMP
    inclusive: bool = False


def leak_check(
    project: Project, cut_offs: Sequence[datetime], cut: CutOff = known_before, opened: Opened = Accepted.of
) -> LeakEvidence:
    """Compare views, requests and labels at cut-offs, and look for labels that are known when they are asked for."""
    suspects, end = _suspects(project), project.period("all").end
    tables = {
        name: _compare(_Trial(opened(project, suspect.derivation), suspect, cut), cut_offs, end)
        for name, suspect in counted(suspects.items(), "leak check", len(suspects))
    }
    labels, at_once = tables["labels"], labels_known_at_once(project, opened)
    tables["labels"] = labels.model_copy(update={"changed": labels.changed + at_once})
    return LeakEvidence(tables=tables)


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


@dataclass(frozen=True)
class _Trial:
    """A suspect, the rows that it follows from, and how these are cut off."""

    accepted: Accepted
    suspect: _Suspect
    cut: CutOff

    def around(self, at: datetime) -> LeakComparison:
        """Compare in the first window before `at` that has rows."""
        day = at.astimezone(UTC).date()
        windows = (
            self._compare(at - window, at, self.suspect.derivation.source_dates(day - window, day + window))
            for window in WINDOWS
        )
        return next((found for found in windows if found.compared), LeakComparison.nothing())

    def at_own_row(self, at: datetime) -> LeakComparison:
        """Compare the rows up to one of the suspect's own, with all source rows that came later."""
        begin = at - WINDOWS[0]
        day = begin.astimezone(UTC).date()
        return self._compare(begin, at, (self.suspect.derivation.source_dates(day, day)[0], None))

    def own_moments(self, end: datetime) -> list[datetime]:
        """The timestamp of the suspect's last row before `end`, and of earlier ones, as many rows apart."""
        moment, derivation = self.suspect.moment, self.suspect.derivation
        shares = [(number + 1) / OWN_CUT_OFFS for number in range(OWN_CUT_OFFS)]
        distinct = f"SELECT DISTINCT {moment} AS moment FROM ({derivation.sql}) WHERE {moment} < {timestamptz(end)}"
        self.accepted.expose(None, None)
        found = self.accepted.connection.con.sql(f"SELECT quantile_disc(moment, {shares}) AS moments FROM ({distinct})")
        return sorted(set(found.to_arrow_table()["moments"][0].as_py() or ()))

    def _compare(self, after: datetime, until: datetime, dates: tuple[date | None, date | None]) -> LeakComparison:
        """Compare the rows after one instant, up to another, with the cut-off at the last of them.

        There a leak shows best: a source row that became known at that very moment is hidden, or, where such a row may count,
        one that became known just after it.
        """
        accepted, suspect = self.accepted, self.suspect
        bounds = (suspect.derivation, after, until, suspect.moment)
        accepted.expose(*dates)
        full = accepted.kept(*bounds)
        last = accepted.value(full[suspect.moment].max())
        if last is None:
            return LeakComparison.nothing()
        instant = last + TICK if suspect.inclusive else last
        later = self._later(instant)
        accepted.expose(*dates, prepare=lambda table, whole: self.cut(table, whole, instant))
        known = accepted.kept(*bounds)
        lost, gained = (one.difference(other, distinct=False) for one, other in ((full, known), (known, full)))
        return LeakComparison(
            cut_offs=(until,),
            compared=accepted.value(full.count()),
            later=later,
            hidden=later - self._later(instant),
            changed=accepted.value(lost.count()) + accepted.value(gained.count()),
        )

    def _later(self, instant: datetime) -> int:
        """Source rows that an instant finds unknown, or not known in full."""
        count = 0
        for table in self.accepted.tables:
            rows = self.accepted.connection.table(table.name)
            columns = {table.event_time, table.known_at} & {table.event_time, *late_columns(table)} - {None}
            unknown = [rows[column] >= instant for column in columns]
            count += int(self.accepted.value(rows.filter(reduce(or_, unknown)).count())) if unknown else 0
        return count


def _compare(trial: _Trial, cut_offs: Sequence[datetime], end: datetime) -> LeakComparison:
    """Compare at the given cut-offs; where these show nothing, at some of the suspect's own rows, too."""
    found = LeakComparison.total([trial.around(at) for at in cut_offs])
    if found.compared and found.hidden:
        return found
    return LeakComparison.total([found, *(trial.at_own_row(at) for at in trial.own_moments(end))])


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
