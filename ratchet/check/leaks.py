"""Mistakes of time: features and requests that know too much, and views that look back too little."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ratchet.accepted import Accepted, Prepare
from ratchet.check.declaration import Declaration
from ratchet.check.features import Features, present, size
from ratchet.check.finding import Finding, spoken
from ratchet.check.sample import DIRT
from ratchet.derivation import EVENT_TIMESTAMP, REQUEST_ID, request_derivation, view_derivation
from ratchet.leak_check import WINDOWS, hide, known_before, late_columns, leak_check
from ratchet.use_case import SourceTable, View

if TYPE_CHECKING:
    import ibis

CUT_OFF = 0.8
"""Where in the sample's requests, in order of time, the sources are cut off."""
TICK, DAY = timedelta(microseconds=1), timedelta(days=1)


def check_leaks(features: Features, where: Declaration) -> Iterator[Finding]:
    """The generic leak check, and for requests which of their fields it is that changes."""
    sample = features.sample
    use_case, cut_off = sample.project.use_case, _cut_off(features)
    changed = leak_check(sample.project, [cut_off], opened=sample.opened).changed
    leaking = [view for view in use_case.views if changed.get(view.name)]
    for view in leaking:
        yield _leak(view, changed[view.name], where)
    if changed["requests"]:
        fields = dict(_fields(features, cut_off, where))
        yield from fields.values() or [_request_leak(features, where)]
    if changed["labels"]:
        yield Finding(
            "label-known-at-once",
            where.function(use_case.examples),
            f"{changed['labels']:,} labels have no label_known_at after the moment that their prediction is asked for",
            "Let label_known_at be the instant from which the outcome is known, such as the `known_at` of its row",
        )
    for view in use_case.views:
        if view not in leaking:
            yield from _lookback(features, view, where)


def _cut_off(features: Features) -> datetime:
    moments = np.sort(features.requests[EVENT_TIMESTAMP].to_pyarrow().to_numpy())
    instant: datetime = moments[int(CUT_OFF * (len(moments) - 1))].astype("datetime64[us]").item()
    return instant.replace(tzinfo=UTC)


def _leak(view: View, changed: int, where: Declaration) -> Finding:
    return Finding(
        "leak",
        where.function(view.compute),
        f"view {view.name!r} uses what was not known yet: {changed:,} of its rows change when the sources are cut off at "
        "the moment that these rows are for",
        "Count a row from after its known_at (round up, not down), and end every window at the current row (following=0)",
    )


def _request_leak(features: Features, where: Declaration) -> Finding:
    use_case = features.sample.project.use_case
    return Finding(
        "leak",
        where.function(use_case.examples),
        "requests appear or vanish with what is known only after they are asked",
        "Let `examples` choose its rows by their early columns alone, and leave the label null where it is not known",
    )


def _fields(features: Features, at: datetime, where: Declaration) -> Iterator[tuple[str, Finding]]:
    """The request fields that change when what was not known yet is hidden: one table, then one column at a time."""
    use_case = features.sample.project.use_case
    recompute = _Requests(features, at)
    for table in (use_case.table(name) for name in recompute.derivation.reads):
        suspects, explained = recompute.changed(_hiding(table, partial(known_before, at=recompute.instant))), set[str]()
        for column in late_columns(table) if suspects else ():
            for field in sorted(
                recompute.changed(_hiding(table, partial(hide, at=recompute.instant, columns=[column])))
            ):
                explained.add(field)
                yield field, _unknown_field(field, table, column, where)
        for field in sorted(suspects - explained):
            yield field, _of_later_rows(field, table, where.function(use_case.examples))


class _Requests:
    """The requests of the time before an instant, as they are and as they were with something hidden."""

    def __init__(self, features: Features, at: datetime) -> None:
        sample = features.sample
        self.derivation = request_derivation(sample.project.use_case)
        self._fields = sample.project.use_case.request_fields()
        self._accepted: Accepted = sample.opened(sample.project, self.derivation)
        self._accepted.expose(None, None)
        self._at = at
        self._whole = self._recomputed()
        self.instant = at + TICK

    def changed(self, prepare: Prepare) -> set[str]:
        """The fields that have other values in requests that are there in both."""
        self._accepted.expose(None, None, prepare)
        hidden = self._recomputed()
        both = self._whole.inner_join(hidden, REQUEST_ID, rname="{name}_hidden")
        differs = {name: (~both[name].identical_to(both[f"{name}_hidden"])).sum() for name in self._fields}
        counts = both.aggregate(**differs).to_pyarrow().to_pylist()[0] if differs else {}
        return {name for name, count in counts.items() if count}

    def _recomputed(self) -> ibis.Table:
        return self._accepted.kept(self.derivation, self._at - WINDOWS[0], self._at)


def _hiding(hidden: SourceTable, prepare: Prepare) -> Prepare:
    """Prepare one table, and leave the others as they are."""
    return lambda table, rows: prepare(table, rows) if table == hidden else rows


def _unknown_field(field: str, table: SourceTable, column: str, where: Declaration) -> Finding:
    return Finding(
        "field-not-known",
        where.table(table.name, "early"),
        f"request field {field!r} follows from column {column!r} of table {table.name!r}, which is not among its `early` "
        f"columns: nobody knows it before {table.known_at}, so no caller can send it",
        f"If it is known from {table.event_time} on, name {column!r} in `early`; if not, take {field!r} out of the request",
    )


def _of_later_rows(field: str, table: SourceTable, place: str) -> Finding:
    return Finding(
        "field-not-known",
        place,
        f"request field {field!r} follows from rows of table {table.name!r} that come only after it is asked for",
        f"Let `examples` make it of earlier rows, or take {field!r} out of the request",
    )


def _lookback(features: Features, view: View, where: Declaration) -> Iterator[Finding]:
    """Does the last date of a view come out the same from its lookback alone?"""
    rows = features.views[view.name]
    last = rows.filter(rows[EVENT_TIMESTAMP] <= features.sample.last)[EVENT_TIMESTAMP].max().to_pyarrow().as_py()
    if view.lookback is None or last is None:
        return
    day = datetime.combine(last.date(), time(), UTC)
    whole = _rounded(rows.filter(rows[EVENT_TIMESTAMP] >= day, rows[EVENT_TIMESTAMP] < day + DAY))
    alone = _rounded(_alone(features, view, day))
    changed = max(size(one.difference(other, distinct=False)) for one, other in ((whole, alone), (alone, whole)))
    if changed > DIRT * size(whole):
        yield Finding(
            "lookback-too-short",
            where.view(view.name, "lookback"),
            f"view {view.name!r} looks further back than its `lookback` of {spoken(view.lookback)}: {changed:,} of the "
            f"{size(whole):,} rows of {day.date()} change when older rows are there",
            "Set `lookback` to the longest window, plus the time from a row's event_time to the moment that it counts at",
        )


def _alone(features: Features, view: View, day: datetime) -> ibis.Table:
    """The view's rows of a date, from the source rows that its lookback allows."""
    sample = features.sample
    derivation = view_derivation(sample.project.use_case, view)
    accepted = sample.opened(sample.project, derivation)
    accepted.expose(*derivation.source_dates(day.date(), day.date()))
    return present(accepted.kept(derivation, day - TICK, day + DAY - TICK), *view.keys)


def _rounded(rows: ibis.Table) -> ibis.Table:
    """Numbers no finer than sums of floats in another order agree."""
    return rows.mutate(**{name: rows[name].cast("float32") for name in rows.columns if rows[name].type().is_floating()})
