"""Features that another system computes and writes to Parquet files. They are read where they lie, and are not copied.

    upstream(
        "profile",
        pa.schema({"customer": pa.string(), "segment": pa.string(), "scored_at": INSTANT, "written_at": INSTANT}),
        keys=("customer",), event_time="scored_at", available_at="written_at", max_age=timedelta(days=40),
    )

is a view of `customer` with the feature `segment`. The setting `upstream` in params.yaml says where its files lie.

A row counts from the first run of the feature pipeline after it was available, but not before its event time: this is the
first time at which the online store could have had it. Among the rows of a key that count by then, the one with the latest
event time holds, and of several with the same event time the one that was available last. So a late row about an earlier
time never replaces a newer one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import ibis
import pyarrow as pa

from ratchet.core.errors import SettingsError
from ratchet.use_case.columns import AVAILABLE_AT, EVENT_TIMESTAMP, require_columns
from ratchet.use_case.contract import INSTANT, Tables, View
from ratchet.use_case.windows import SECOND, UTC_INSTANT

IS_ABOUT, IS_THERE = "is about", "is there since"
"""A row's event time, and when it was available, in the table from which the view is computed."""
_RANK, _BEST = "rank", "best rank so far"
KEY_TYPES = (pa.string(), pa.int64())
FEATURE_TYPES = (*KEY_TYPES, pa.float64(), pa.bool_())


@dataclass(frozen=True)
class Upstream:
    """How the files of the view `name` are read. `schema` has the columns that are used; files may have others."""

    name: str
    keys: tuple[str, ...]
    schema: pa.Schema
    event_time: str
    available_at: str
    lag: timedelta

    @property
    def table(self) -> str:
        """The name of the table from which the view is computed."""
        return f"upstream {self.name}"

    @property
    def features(self) -> list[str]:
        return [name for name in self.schema.names if name not in {*self.keys, self.event_time, self.available_at}]


def upstream(
    name: str,
    schema: pa.Schema,
    *,
    keys: tuple[str, ...],
    event_time: str,
    available_at: str,
    max_age: timedelta | None,
    lag: timedelta = timedelta(0),
) -> View:
    """The view `name` of `keys`. Its features are the other columns of the schema, without the two times.

    `event_time` names the column with the instant that a row is about, and `available_at` the column with the instant from
    which the row was available; Ratchet could read it at most `lag` later. Both may be one column: then rows are available
    within `lag` after the time that they are about. A value is too old once `max_age` has passed since its row counts.
    Raises SettingsError if a column is not in the schema, or has a type that cannot be kept.
    """
    declared, subject = Upstream(name, keys, schema, event_time, available_at, lag), f"view {name!r}"
    for keyword, named in (("keys", keys), ("event_time", (event_time,)), ("available_at", (available_at,))):
        require_columns(keyword, named, schema.names, subject=subject)
    if problems := [*_problems(declared)]:
        raise SettingsError("; ".join(problems), subject=subject, remedy="Correct the schema of `upstream`")
    return View(name, keys, partial(_holding, declared), lookback=None, max_age=max_age, upstream=declared)


def _problems(declared: Upstream) -> Iterator[str]:
    times = {declared.event_time, declared.available_at}
    for field in declared.schema:
        known = (INSTANT,) if field.name in times else KEY_TYPES if field.name in declared.keys else FEATURE_TYPES
        if field.type not in known:
            yield f"column {field.name!r} is a {field.type} and not {' or '.join(map(str, known))}"
        if field.name in {EVENT_TIMESTAMP, AVAILABLE_AT} - times:
            yield f"column {field.name!r} has the name of the time from which a row counts"
    if not declared.features or not declared.keys:
        yield "there is no feature, or no key"


def _holding(declared: Upstream, _tables: Tables) -> ibis.Table:
    """The row that holds for each key, from each time on at which rows begin to count."""
    kinds = {name: declared.schema.field(name).type for name in (*declared.keys, *declared.features)}
    stored = pa.schema({**kinds, IS_ABOUT: INSTANT, IS_THERE: INSTANT, AVAILABLE_AT: INSTANT})
    rows = ibis.table(ibis.Schema.from_pyarrow(stored), name=declared.table)
    counted = rows.mutate(**{EVENT_TIMESTAMP: ibis.greatest(_whole_second(rows[IS_ABOUT]), rows[AVAILABLE_AT])})
    so_far = ibis.range_window(group_by=declared.keys, order_by=EVENT_TIMESTAMP, following=0)
    rank = ibis.struct({"about": counted[IS_ABOUT], "there": counted[IS_THERE]})
    ranked = counted.mutate(**{_RANK: rank, _BEST: rank.max().over(so_far)})
    best = ranked.filter(ranked[_RANK] == ranked[_BEST])
    return best.select(*declared.keys, EVENT_TIMESTAMP, *declared.features).distinct()


def _whole_second(instant: ibis.Value) -> ibis.Value:
    """The first whole second that is not before an instant: online stores keep no fractions."""
    second = instant.truncate("s").cast(UTC_INSTANT)
    return (second == instant).ifelse(second, second + ibis.interval(SECOND)).cast(UTC_INSTANT)
