"""Find views, requests and labels that use more source rows than they declare: a date computed alone would be different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from authoring.check.features import Features, present, size
from authoring.check.finding import Finding
from authoring.check.sample import DIRT
from authoring.check.source_lines import Declaration
from ratchet.core.clock import TICK, midnight
from ratchet.core.text import format_duration
from ratchet.features.expressions import CompiledExpression, compile_delivered_view, compile_labels, compile_requests
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import View

if TYPE_CHECKING:
    import ibis

DAY = timedelta(days=1)
DAYS = 5
"""The number of dates whose labels are computed twice."""


def check_reach(features: Features, leaking: Mapping[str, int], where: Declaration) -> Iterator[Finding]:
    """Compute a date from the declared source rows and from all rows, and compare. Views that leak are reported already."""
    for view in features.sample.run.use_case.views:
        if not leaking.get(view.name):
            yield from _lookback(features, view, where)
    days = _busiest(features)
    ahead = list(_horizon(features, days, where))
    yield from ahead
    if not ahead and not leaking["requests"]:
        yield from _examples(features, days[0], where)


def _lookback(features: Features, view: View, where: Declaration) -> Iterator[Finding]:
    """Check that the last date of a view is the same if it is computed from its lookback only."""
    rows = features.views[view.name]
    last = rows.filter(rows[EVENT_TIMESTAMP] <= features.sample.last)[EVENT_TIMESTAMP].max().to_pyarrow().as_py()
    if view.lookback is None or last is None:
        return
    run, begin = features.sample.run, midnight(last.date())
    compiled = compile_delivered_view(run.use_case, view, run.delivery)
    whole = rows.filter(rows[EVENT_TIMESTAMP] >= begin, rows[EVENT_TIMESTAMP] < begin + DAY)
    changed = _differing(whole, _computed(features, compiled, last.date(), *view.keys))
    if changed > DIRT * size(whole):
        yield Finding(
            "lookback-too-short",
            where.view(view.name, "lookback"),
            f"view {view.name!r} looks further back than its `lookback` of {format_duration(view.lookback)}: {changed:,} of "
            f"the {size(whole):,} rows of {last.date()} change when older rows are added",
            "Set `lookback` to the longest window, plus the time from a row's event_time to the timestamp that it counts at",
        )


def _horizon(features: Features, days: Sequence[date], where: Declaration) -> Iterator[Finding]:
    """Check that the labels of some dates are the same if they are computed from rows up to the horizon.

    One date is not enough, because few outcomes are decided in the last days of the horizon.
    """
    use_case, last = features.sample.run.use_case, features.sample.last
    labels = replace(compile_labels(use_case), lookback=None)
    changed, count = 0, 0
    for day in days:
        whole = _computed(features, replace(labels, lookahead=last - midnight(day)), day)
        changed += _differing(whole, _computed(features, labels, day))
        count += size(whole)
    if changed:
        yield Finding(
            "horizon-too-short",
            where.use_case("horizon"),
            f"labels look further ahead than the `horizon` of {format_duration(use_case.horizon)}: {changed:,} of the "
            f"{count:,} labels of {len(days)} dates change when later rows are added",
            "Set `horizon` to the time from a request to the last row that its label may use, and let it use no later row",
        )


def _examples(features: Features, day: date, where: Declaration) -> Iterator[Finding]:
    """Check that the requests and labels of a date are the same without rows older than the day before it."""
    use_case = features.sample.run.use_case
    for name, compiled in (("requests", compile_requests(use_case)), ("labels", compile_labels(use_case))):
        whole = _computed(features, replace(compiled, lookback=None), day)
        changed = _differing(whole, _computed(features, compiled, day))
        if changed:
            yield Finding(
                "examples-look-back",
                where.function(use_case.examples),
                f"{name} follow from rows older than their own date and the date before it: {changed:,} of the "
                f"{size(whole):,} {name} of {day} change when these rows are added",
                "Compute what looks back in a view with a `lookback`, and look it up",
            )
            return


def _busiest(features: Features) -> list[date]:
    """The dates with the most labelled requests, from the middle half of all: so there are rows before and after them."""
    timestamps = np.sort(features.labelled[EVENT_TIMESTAMP].to_pyarrow().to_numpy())
    middle = timestamps[len(timestamps) // 4 : len(timestamps) * 3 // 4 + 1].astype("datetime64[D]")
    days, counts = np.unique(middle, return_counts=True)
    found: list[date] = days[np.argsort(-counts, kind="stable")[:DAYS]].tolist()
    return found


def _computed(features: Features, compiled: CompiledExpression, day: date, *keys: str) -> ibis.Table:
    """A compiled expression's rows of a date, computed from the source rows that it declares."""
    sample, begin = features.sample, midnight(day)
    source_rows = sample.opened(compiled)
    source_rows.bind(*compiled.source_dates(day, day))
    return present(source_rows.snapshot(compiled, begin - TICK, begin + DAY - TICK), *keys)


def _differing(one: ibis.Table, other: ibis.Table) -> int:
    """How many rows are in only one of the tables. Floats are rounded, because their sums depend on the order of rows."""
    one, other = _rounded(one), _rounded(other)
    return max(size(one.difference(other, distinct=False)), size(other.difference(one, distinct=False)))


def _rounded(rows: ibis.Table) -> ibis.Table:
    return rows.mutate(
        **{name: rows[name].try_cast("float32") for name in rows.columns if rows[name].type().is_floating()}
    )
