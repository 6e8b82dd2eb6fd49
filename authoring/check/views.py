"""Mistakes of keys and views: what is not unique, and what is never found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from authoring.check.features import Features, size
from authoring.check.finding import Finding
from authoring.check.sample import DIRT, Repeated, Sample
from authoring.check.source_lines import Declaration
from ratchet.core.text import format_duration
from ratchet.use_case.columns import EVENT_TIMESTAMP, REQUEST_ID
from ratchet.use_case.contract import Lookup, SourceTable, View

if TYPE_CHECKING:
    import ibis

FOUND_SELDOM = 0.01
"""Below this share of requests that find a row, a lookup counts as empty."""


def check_keys(sample: Sample, where: Declaration) -> Iterator[Finding]:
    for table in sample.run.use_case.tables:
        repeated = sample.repeated[table.name]
        if repeated.share > DIRT:
            yield _repeated_key(table, repeated, sample.tables[table.name].num_rows, where)


def check_usable(sample: Sample, where: Declaration) -> Iterator[Finding]:
    """Find tables of which no row can be used: everything that is computed from them is empty."""
    end = sample.run.as_of("feature").isoformat()
    for table in (table for table in sample.run.use_case.tables if not sample.tables[table.name].num_rows):
        key, needed, remedy = "key", "a key", "Deliver rows with a key, or name other columns in `key`"
        if not table.is_reference:
            key, needed = "event_time", f"a key and an event_time before {end}, up to which the data go"
            remedy = f"{remedy} and `event_time`, or `ratchet advance` to when there is data"
        yield Finding(
            "table-unused",
            where.table(table.name, key),
            f"no row of table {table.name!r} can be used: of {sample.read[table.name].rows:,} none has {needed}",
            remedy,
        )


def check_views(features: Features, where: Declaration) -> Iterator[Finding]:
    """Check the views and requests of the whole sample."""
    use_case = features.sample.run.use_case
    for view in use_case.views:
        yield from _view(features, view, where)
    repeated = _count_repeated(features.requests, [REQUEST_ID])
    if repeated and not any(each.share > DIRT for each in features.sample.repeated.values()):
        yield Finding(
            "request-not-unique",
            where.function(use_case.examples),
            f"{repeated:,} values of request_id belong to several requests",
            "Let `examples` give one row for each request_id: row_key names a source row, and a join may repeat it",
        )
    for lookup in use_case.lookups:
        yield from _lookup(features, lookup, use_case.view(lookup.view), where)


def _view(features: Features, view: View, where: Declaration) -> Iterator[Finding]:
    rows = features.views[view.name]
    if not size(rows):
        yield _without_rows(view, where)
        return
    repeated = _count_repeated(rows, [*view.keys, EVENT_TIMESTAMP])
    if repeated:
        yield Finding(
            "view-not-unique",
            where.function(view.compute),
            f"view {view.name!r} has several rows for {repeated:,} of its keys and timestamps",
            f"Aggregate by {', '.join(view.keys)} and event_timestamp, so that each has one row",
        )
    timestamp = rows[EVENT_TIMESTAMP]
    if size(rows.filter(timestamp != timestamp.truncate("s").cast(timestamp.type()))):
        yield Finding(
            "view-timestamp",
            where.function(view.compute),
            f"view {view.name!r} has an event_timestamp with a fraction of a second, which an online store cannot keep",
            "Round it up to the next second, so that no row counts before it was known",
        )
    if view.lookback is not None and view.max_age is None:
        yield Finding(
            "max-age-missing",
            where.view(view.name, "max_age"),
            f"view {view.name!r} looks back {format_duration(view.lookback)}, but has no max_age: a key without new rows would "
            "be served its last value for ever",
            "Set `max_age` to the time after which a value is of no use any more, such as its lookback",
        )


def _without_rows(view: View, where: Declaration) -> Finding:
    problem, remedy = (
        "although the tables that it reads have rows",
        "Check its filters and joins: one of them keeps no row",
    )
    if view.upstream:
        problem = "that a request of the sample could find, although its files have rows"
        remedy = f"Check the times in {view.upstream.event_time!r} and {view.upstream.available_at!r}, and `max_age`"
    return Finding("view-empty", where.function(view.compute), f"view {view.name!r} has no row, {problem}", remedy)


def _repeated_key(table: SourceTable, repeated: Repeated, rows: int, where: Declaration) -> Finding:
    shown = ", ".join(f"{name} = {value}" for name, value in repeated.example.items())
    return Finding(
        "key-not-unique",
        where.table(table.name, "key"),
        f"the key of table {table.name!r} is not unique: {repeated.rows:,} of {rows:,} rows have the key of another row that "
        f"differs, such as {shown}, and would be quarantined as duplicates",
        "Name in `key` all the columns that together identify a row",
    )


def _lookup(features: Features, lookup: Lookup, view: View, where: Declaration) -> Iterator[Finding]:
    """Find a lookup that gives hardly any request of the later half of the sample a row."""
    held = features.rows.get(f"{lookup.prefix}__{EVENT_TIMESTAMP}", np.empty(0, "datetime64[us]"))
    later = held[len(held) // 2 :]
    if not len(later) or np.mean(~np.isnat(later)) >= FOUND_SELDOM or not size(features.views[view.name]):
        return
    met, after = _met(features, lookup)
    if met and after < FOUND_SELDOM * met:
        yield Finding(
            "lookup-empty",
            where.function(view.compute),
            f"lookup {lookup.prefix!r} finds nothing: view {view.name!r} has rows only for later timestamps",
            "Let event_timestamp be the timestamp from which a row's values are known",
        )
    elif met and view.max_age is not None:
        yield Finding(
            "max-age-too-short",
            where.view(view.name, "max_age"),
            f"lookup {lookup.prefix!r} finds nothing, because the rows of view {view.name!r} are older than its max_age "
            f"of {format_duration(view.max_age)} when they are asked for",
            "Set `max_age` to more than the time between two rows of a key",
        )
    else:
        yield Finding(
            "lookup-empty",
            where.lookup(lookup.prefix, "keys"),
            f"lookup {lookup.prefix!r} finds nothing: no request has a key that view {view.name!r} has",
            f"Compare {', '.join(lookup.keys.values())} of the request with {', '.join(lookup.keys)} of the view: "
            "spelling, type, leading zeros",
        )


def _met(features: Features, lookup: Lookup) -> tuple[int, int]:
    """How many requests have a key of the view, and how many of these come after the first row of that key."""
    requests, rows = features.requests, features.views[lookup.view]
    first = rows.group_by(list(lookup.keys)).agg(**{"first row": rows[EVENT_TIMESTAMP].min()})
    met = requests.inner_join(first, [requests[column] == first[key] for key, column in lookup.keys.items()])
    return size(met), size(met.filter(met["first row"] <= met[EVENT_TIMESTAMP]))


def _count_repeated(rows: ibis.Table, keys: Sequence[str]) -> int:
    counted = rows.group_by(list(keys)).agg(**{"rows of a key": rows.count()})  # no column of a view has this name
    return size(counted.filter(counted["rows of a key"] > 1))
