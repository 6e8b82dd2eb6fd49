"""Mistakes of time: features, requests and labels that use what is not known yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from authoring.check.features import Features, size
from authoring.check.finding import Finding
from authoring.check.lookback_checks import check_reach
from authoring.check.source_lines import Declaration
from ratchet.core.clock import TICK
from ratchet.features.expressions import compile_requests
from ratchet.features.leak_check import WINDOWS, hide, known_before, labels_known_at_once, late_columns, leak_check
from ratchet.features.source_rows import Prepare, SourceRows
from ratchet.use_case.columns import EVENT_TIMESTAMP, REQUEST_ID
from ratchet.use_case.contract import SourceTable, View

if TYPE_CHECKING:
    import ibis

CUT_OFF = 0.8
"""The sources are cut off after this share of the sample's requests, in order of time."""


def check_leaks(features: Features, where: Declaration) -> Iterator[Finding]:
    """Run the generic leak check. For requests, also find which of their fields change."""
    sample = features.sample
    use_case, cut_off = sample.run.use_case, _cut_off(features)
    leaks = leak_check(use_case, sample.opened, [cut_off], sample.run.as_of("feature"), label_use="arrived_label")
    changed = leaks.changed
    for view in use_case.views:
        if view.name in leaks.unproved:
            yield from _unproved(features, view, where)
        if changed.get(view.name):
            yield _leak(view, changed[view.name], where)
    if changed["requests"]:
        fields = dict(_fields(features, cut_off, where))
        yield from fields.values() or [_request_leak(features, where)]
    if changed["labels"]:
        yield _early_label(features, changed["labels"], where)
    yield from check_reach(features, changed, where)


def _cut_off(features: Features) -> datetime:
    timestamps = np.sort(features.requests[EVENT_TIMESTAMP].to_pyarrow().to_numpy())
    instant: datetime = timestamps[int(CUT_OFF * (len(timestamps) - 1))].astype("datetime64[us]").item()
    return instant.replace(tzinfo=UTC)


def _unproved(features: Features, view: View, where: Declaration) -> Iterator[Finding]:
    """A view that the gate could not judge either. A view without any row is reported by `check_views`."""
    if size(features.views[view.name]):
        yield Finding(
            "leak-unproved",
            where.function(view.compute),
            f"view {view.name!r} has no row before {features.sample.run.as_of('feature')}, up to which the "
            "data go. So nothing shows whether it uses what was not known yet, and the gate refuses every model without that",
            "Let event_timestamp be the timestamp from which a row's values are known",
        )


def _leak(view: View, changed: int, where: Declaration) -> Finding:
    return Finding(
        "leak",
        where.function(view.compute),
        f"view {view.name!r} uses what was not known yet: {changed:,} of its rows change when the sources are cut off at "
        "the timestamp that these rows are for",
        "Count a row from its row_available_at on (round up, not down), and end every window at the current row (following=0)",
    )


def _request_leak(features: Features, where: Declaration) -> Finding:
    use_case = features.sample.run.use_case
    return Finding(
        "leak",
        where.function(use_case.examples),
        "requests appear or disappear depending on what is known only after their timestamp",
        "Let `examples` choose its rows by their early columns only, and leave the label null if it is not known",
    )


def _early_label(features: Features, changed: int, where: Declaration) -> Finding:
    sample = features.sample
    place = where.function(sample.run.use_case.examples)
    at_once = labels_known_at_once(sample.run.use_case, sample.opened)
    if at_once:
        return Finding(
            "label-known-at-once",
            place,
            f"{at_once:,} labels have no label_known_at that is later than their request's timestamp",
            "Let label_known_at be the timestamp from which the outcome is known, such as the `row_arrived_at` of its row",
        )
    return Finding(
        "label-known-too-early",
        place,
        f"labels are not known yet at their label_known_at: {changed:,} of them change when the sources are cut off just "
        "after the last of these timestamps",
        "Let label_known_at be the timestamp from which the outcome cannot change any more, such as the end of the period "
        "that `label` depends on",
    )


def _fields(features: Features, at: datetime, where: Declaration) -> Iterator[tuple[str, Finding]]:
    """The request fields that change when values that were not known yet are hidden: one table, then one column at a time."""
    use_case = features.sample.run.use_case
    recompute = _Requests(features, at)
    for table in (use_case.table(name) for name in recompute.compiled.reads):
        known = _hiding(table, partial(known_before, at=recompute.instant, use="example"))
        suspects, explained = recompute.changed(known), set[str]()
        for column in late_columns(table) if suspects else ():
            for field in sorted(
                recompute.changed(_hiding(table, partial(hide, at=recompute.instant, columns=[column], use="example")))
            ):
                explained.add(field)
                yield field, _unknown_field(field, table, column, where)
        for field in sorted(suspects - explained):
            yield field, _of_later_rows(field, table, where.function(use_case.examples))


class _Requests:
    """The requests before a timestamp, computed once from all rows and again with some rows or values hidden."""

    def __init__(self, features: Features, at: datetime) -> None:
        sample = features.sample
        self.compiled = compile_requests(sample.run.use_case)
        self._fields = sample.run.use_case.request_fields()
        self._source_rows: SourceRows = sample.opened(self.compiled)
        self._source_rows.bind(None, None)
        self._at = at
        self._whole = self._recomputed()
        self.instant = at + TICK

    def changed(self, prepare: Prepare) -> set[str]:
        """The fields whose values differ, in requests that are in both results."""
        self._source_rows.bind(None, None, prepare)
        hidden = self._recomputed()
        both = self._whole.inner_join(hidden, REQUEST_ID, rname="{name}_hidden")
        differs = {name: (~both[name].identical_to(both[f"{name}_hidden"])).sum() for name in self._fields}
        counts = both.aggregate(**differs).to_pyarrow().to_pylist()[0] if differs else {}
        return {name for name, count in counts.items() if count}

    def _recomputed(self) -> ibis.Table:
        return self._source_rows.snapshot(self.compiled, self._at - WINDOWS[0], self._at)


def _hiding(hidden: SourceTable, prepare: Prepare) -> Prepare:
    """Prepare one table, and leave the others unchanged."""
    return lambda table, rows: prepare(table, rows) if table == hidden else rows


def _unknown_field(field: str, table: SourceTable, column: str, where: Declaration) -> Finding:
    return Finding(
        "field-not-known",
        where.table(table.name, "early"),
        f"request field {field!r} follows from column {column!r} of table {table.name!r}, which is not among its `early` "
        f"columns: nobody knows it before {table.known_at}, so no caller can send it",
        f"If it is known from {table.event_time} on, name {column!r} in `early`. If not, remove {field!r} from the request",
    )


def _of_later_rows(field: str, table: SourceTable, place: str) -> Finding:
    return Finding(
        "field-not-known",
        place,
        f"request field {field!r} follows from rows of table {table.name!r} that come only after the request",
        f"Let `examples` compute it from earlier rows, or remove {field!r} from the request",
    )
