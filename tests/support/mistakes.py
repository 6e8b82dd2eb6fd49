"""Mistakes to plant into any use case, each named for what `ratchet check` calls it.

They ask of the use case: at least one dated table, and a view of it that looks back more than two days and is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import ibis
import pyarrow as pa
from ibis import _
from pydantic import BaseModel, create_model

from ratchet.core.clock import Period
from ratchet.project.run import Run
from ratchet.sources.batches import Source
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import Columns, Lookup, SourceTable, Tables, View
from tests.support import planted_functions
from tests.support.variants import with_gate, with_table, with_use_case, with_view

Examples = Callable[[ibis.Table], ibis.Table]
Plant = Callable[[Run], Run]
UTC_INSTANT = "timestamp('UTC', 6)"


def dated(run: Run) -> SourceTable:
    """The first table whose rows are about an instant."""
    return next(table for table in run.use_case.tables if not table.is_reference)


def history(run: Run) -> View:
    """The view that looks back furthest, but not for ever."""
    return max(run.use_case.views, key=lambda view: view.lookback or timedelta(0))


def with_examples(run: Run, change: Examples, request: type[BaseModel] | None = None) -> Run:
    """The project whose `examples` are changed afterwards."""
    given = run.use_case.examples
    return with_use_case(run, examples=lambda tables: change(given(tables)), request=request or run.use_case.request)


def with_rows(run: Run, change: Examples) -> Run:
    """The project whose first view that looks back is changed afterwards."""
    view = history(run)
    return with_view(run, view.name, compute=lambda tables: change(view.compute(tables)))


def with_input(run: Run, name: str) -> Run:
    """The project whose model is given another number."""
    return with_use_case(run, inputs={**run.use_case.inputs, name: "number"})


def outcome_in_the_request(run: Run) -> Run:
    """The caller is asked for the label."""
    request = create_model("Knowing", __base__=run.use_case.request, outcome=(float, 0.0))
    return with_input(with_examples(run, lambda rows: rows.mutate(outcome=_.label), request), "outcome")


def count_of_later_rows(run: Run) -> Run:
    """The caller is asked for a number that later rows add to."""
    request = create_model("Foreseeing", __base__=run.use_case.request, asked=(int, 0))
    return with_examples(run, lambda rows: rows.mutate(asked=_.count().over(ibis.window())), request)


def parity(**window: Any) -> ibis.Deferred:
    """A label of 0 or 1, by the requests of a window of time around each."""
    around = ibis.range_window(order_by="event_timestamp", **window)
    found = ((_.request_id.hash() % 7).sum().over(around) % 2).abs().cast("float64")
    return _.label.notnull().ifelse(found, None)


def label_of_later_days(run: Run) -> Run:
    """A label that looks three days ahead, and does not say so."""
    days = ibis.interval(days=3)
    return with_examples(
        with_use_case(run, horizon=timedelta(0)),
        lambda rows: rows.mutate(
            label=parity(preceding=0, following=days),
            label_known_at=(_.event_timestamp + days + ibis.interval(seconds=1)).cast(UTC_INSTANT),
        ),
    )


def label_of_earlier_days(run: Run) -> Run:
    """A label that looks back."""
    return with_examples(run, lambda rows: rows.mutate(label=parity(preceding=ibis.interval(days=5), following=0)))


def count_of_earlier_days(run: Run) -> Run:
    """The caller is asked for a number that should be a view's."""
    request = create_model("Remembering", __base__=run.use_case.request, before=(int, 0))
    days = ibis.range_window(order_by="event_timestamp", preceding=ibis.interval(days=50), following=0)
    return with_examples(run, lambda rows: rows.mutate(before=_.count().over(days)), request)


def with_on_demand(run: Run, function: Callable[[Columns], Columns]) -> Run:
    """The project with another `on_demand`, in which nothing asks for the columns that the given one makes."""
    use_case = run.use_case

    def left(names: Iterable[str]) -> tuple[str, ...]:
        known = {*use_case.request_fields(), *use_case.constants}
        return tuple(name for name in names if name in known or "__" in name)  # as a looked up feature has

    inputs = {name: use_case.inputs[name] for name in left(use_case.inputs)}
    baseline = tuple(dict.fromkeys(left(group) for group in use_case.baseline))
    changed = with_use_case(run, on_demand=function, inputs=inputs, baseline=baseline)
    return with_gate(changed, slices=left(run.settings.gate.slices))


def naive_times(run: Run) -> Run:
    """The time of the first dated table has no zone."""
    table = dated(run)
    assert table.event_time
    place = table.schema.get_field_index(table.event_time)
    return with_table(run, table.name, schema=table.schema.set(place, pa.field(table.event_time, pa.timestamp("us"))))


def failing(_tables: Tables) -> ibis.Table:
    return _tables["no such table"]


def earlier(rows: ibis.Table) -> ibis.Table:
    """Values that count ten days before they are known."""
    return rows.mutate(event_timestamp=(_.event_timestamp - ibis.interval(days=10)).cast(UTC_INSTANT))


def other_keys(run: Run) -> Run:
    """A view whose keys no request has."""
    view = history(run)
    key = view.keys[0]
    return with_rows(
        run,
        lambda rows: rows.mutate(
            **{key: rows[key] + ("?" if rows[key].type().is_string() else ibis.literal(10**6))}  # type: ignore[operator]
        ),
    )


def _demanding(run: Run) -> Run:
    """A gate that wants more rows than there are."""
    gate = run.settings.gate.model_copy(update={"min_rows": 10**7})
    return with_use_case(run.with_settings(gate=gate))


def undelivered(run: Run) -> Run:
    return with_use_case(run, sources={run.settings.source.name: lambda _path, _options, _period: []})


def unreadable(run: Run) -> Run:
    def loader(_path: str, _options: Mapping[str, Any], _period: Period) -> list[Batch]:
        raise UnicodeError("not a text")

    return with_use_case(run, sources={run.settings.source.name: loader})


def renamed(run: Run) -> Run:
    """A loader that delivers another column than the schema has."""

    def loader(path: str, options: Mapping[str, Any], period: Period) -> list[Batch]:
        return [replace(one, read=partial(_renamed, one)) for one in Source.open(run).loader(path, options, period)]

    return with_use_case(run, sources={run.settings.source.name: loader})


def _renamed(batch: Batch) -> tuple[pa.Table, list[str]]:
    rows, notes = batch.read()
    return rows.rename_columns([*rows.column_names[:-1], "other"]), notes


def only_later(run: Run) -> Run:
    """A view whose rows count for timestamps that no request is asked at."""
    view = history(run)
    return with_view(
        run, view.name, compute=lambda tables: _much_later(view.compute(tables)), max_age=None, lookback=None
    )


def _much_later(rows: ibis.Table) -> ibis.Table:
    return rows.mutate(event_timestamp=(_.event_timestamp + ibis.interval(days=3000)).cast(UTC_INSTANT))


def _bad_number(_rows: ibis.Table) -> ibis.Value:
    return (_.event_timestamp.cast("string") + "!").cast("int64")


def nothing_lately(run: Run) -> Run:
    """Examples of the training period alone."""
    end = run.period("train").end
    return with_examples(run, lambda rows: rows.filter(rows["event_timestamp"] < end))


MISTAKES: Mapping[str, tuple[str, Plant]] = {
    "no time zone": ("time-zone", lambda run: with_use_case(run, timezone="Mars/Olympus")),
    "naive time": ("time-zone", naive_times),
    "view twice": ("view-not-unique", lambda run: with_rows(run, lambda rows: rows.union(rows))),
    "view between seconds": (
        "view-timestamp",
        lambda run: with_rows(
            run, lambda rows: rows.mutate(event_timestamp=_.event_timestamp + ibis.interval(milliseconds=1))
        ),
    ),
    "view without rows": (
        "view-empty",
        lambda run: with_rows(run, lambda rows: rows.filter(ibis.literal(False))),
    ),
    "view before it is known": ("leak", lambda run: with_rows(run, earlier)),
    "key of too few columns": (
        "key-not-unique",
        lambda run: with_table(run, dated(run).name, key=dated(run).early[-1:]),
    ),
    "table without a key": ("key-not-unique", lambda run: with_table(run, dated(run).name, key=())),
    "source of nothing": ("source", undelivered),
    "source of other columns": ("source", renamed),
    "source that fails": ("function-fails", unreadable),
    "view of bad rows": (
        "function-fails",
        lambda run: with_rows(run, lambda rows: rows.mutate(x=_bad_number(rows))),
    ),
    "view of later timestamps": ("lookup-empty leak-unproved", only_later),
    "windows without data": ("window-empty", nothing_lately),
    "view that fails": ("function-fails", lambda run: with_view(run, history(run).name, compute=failing)),
    "short lookback": (
        "lookback-too-short",
        lambda run: with_view(run, history(run).name, lookback=timedelta(0)),
    ),
    "no max_age": ("max-age-missing", lambda run: with_view(run, history(run).name, max_age=None)),
    "short max_age": (
        "max-age-too-short",
        lambda run: with_view(run, history(run).name, max_age=timedelta(microseconds=1)),
    ),
    "tile shorter than the schedule": (
        "tile-and-schedule",
        lambda run: with_view(run, history(run).name, tile=timedelta(minutes=1)),
    ),
    "max_age shorter than the schedule": (
        "max-age-too-short",
        lambda run: with_view(run, history(run).name, max_age=timedelta(minutes=30)),
    ),
    "foreign keys": ("lookup-empty", other_keys),
    "requests twice": ("request-not-unique", lambda run: with_examples(run, lambda rows: rows.union(rows))),
    "requests by outcome": (
        "leak",
        lambda run: with_examples(run, lambda rows: rows.filter(_.label.notnull())),
    ),
    "outcome in the request": ("field-not-known label-in-features", outcome_in_the_request),
    "count of later rows": ("field-not-known", count_of_later_rows),
    "outcome on demand": (
        "label-in-features",
        lambda run: with_use_case(run, on_demand=planted_functions.twice_the_label),
    ),
    "label as input": ("label-in-features", lambda run: with_input(run, "label")),
    "on_demand that fails": (
        "function-fails",
        lambda run: with_use_case(run, on_demand=planted_functions.failing_on_demand),
    ),
    "on_demand that changes what it gets": (
        "function-fails",
        lambda run: with_use_case(run, on_demand=planted_functions.adding_in_place),
    ),
    "text as number": (
        "input-kind",
        lambda run: with_input(with_on_demand(run, planted_functions.word), "word"),
    ),
    "label known at once": (
        "label-known-at-once",
        lambda run: with_examples(run, lambda rows: rows.mutate(label_known_at=_.event_timestamp)),
    ),
    "label known too early": (
        "label-known-too-early",
        lambda run: with_examples(
            run,
            lambda rows: rows.mutate(label_known_at=(_.event_timestamp + ibis.interval(seconds=1)).cast(UTC_INSTANT)),
        ),
    ),
    "label of later days": ("horizon-too-short", label_of_later_days),
    "count of earlier days": ("examples-look-back", count_of_earlier_days),
    "label of earlier days": ("examples-look-back", label_of_earlier_days),
    "column of all rows": ("depends-on-others", lambda run: with_on_demand(run, planted_functions.since_the_first)),
    "prediction of all rows": (
        "depends-on-others",
        lambda run: with_use_case(run, postprocess=planted_functions.less_the_mean),
    ),
    "column of one value": ("not-one-each", lambda run: with_on_demand(run, planted_functions.one_value)),
    "prediction of one value": (
        "not-one-each",
        lambda run: with_use_case(run, postprocess=planted_functions.the_first),
    ),
    "column that no single request has": (
        "function-fails",
        lambda run: with_on_demand(run, planted_functions.not_for_one),
    ),
    "postprocess that fails": (
        "function-fails",
        lambda run: with_use_case(run, postprocess=planted_functions.failing_postprocess),
    ),
    "label known in a year": (
        "label-too-late",
        lambda run: with_examples(
            run,
            lambda rows: rows.mutate(label_known_at=(_.event_timestamp + ibis.interval(days=365)).cast(UTC_INSTANT)),
        ),
    ),
    "no label": (
        "no-label",
        lambda run: with_examples(run, lambda rows: rows.mutate(label=ibis.null("float64"))),
    ),
    "few labels": (
        "no-label",
        lambda run: with_examples(
            run,
            lambda rows: rows.mutate(
                label=_.request_id.right(1).isin(["0", "3", "6", "9"]).ifelse(_.label, ibis.null("float64"))
            ),
        ),
    ),
    "one class": (
        "one-class",
        lambda run: with_examples(run, lambda rows: rows.mutate(label=_.label * 0.0 + 1.0)),
    ),
    "label that is no number": (
        "label-values",
        lambda run: with_examples(run, lambda rows: rows.mutate(label=_.label + ibis.literal(float("nan")))),
    ),
    "no examples": (
        "no-examples",
        lambda run: with_examples(run, lambda rows: rows.filter(ibis.literal(False))),
    ),
    "lookup of nothing": (
        "declaration",
        lambda run: with_use_case(run, lookups=(Lookup("elsewhere", {}), *run.use_case.lookups)),
    ),
    "view without its keys": (
        "declaration",
        lambda run: with_rows(run, lambda rows: rows.drop(*history(run).keys)),
    ),
    "examples that fail": ("function-fails", lambda run: with_use_case(run, examples=failing)),
    "too few rows": ("holdout-too-small", _demanding),
    "timestamp that is no field": (
        "unknown-column",
        lambda run: with_use_case(run, event_timestamp="timestamp"),
    ),
    "early column that is none": (
        "unknown-column",
        lambda run: with_table(run, dated(run).name, early=("nowhere",)),
    ),
    "slice by nothing": ("unknown-column", lambda run: with_gate(run, slices=("nowhere",))),
    "baseline by nothing": ("unknown-column", lambda run: with_use_case(run, baseline=(("nowhere",), ()))),
    "baseline by no input": ("unknown-column", lambda run: with_use_case(run, baseline=(("event_timestamp",), ()))),
    "slices of a row": ("slice-too-small", lambda run: with_gate(run, slices=("event_timestamp",))),
    "label longer than a block": (
        "block",
        lambda run: with_gate(with_use_case(run, horizon=timedelta(days=30)), block="day"),
    ),
    "one block": (
        "block",
        lambda run: with_gate(with_on_demand(run, planted_functions.one_group), block="all"),
    ),
}


EACH_THING = (
    "key of too few columns",
    "view twice",
    "requests twice",
    "outcome in the request",
    "outcome on demand",
    "view before it is known",
    "no time zone",
    "naive time",
    "short lookback",
    "no max_age",
    "slices of a row",
    "slice by nothing",
    "label longer than a block",
    "one block",
    "label known in a year",
    "label known too early",
    "label of later days",
    "count of earlier days",
    "column of all rows",
    "prediction of all rows",
    "no label",
    "one class",
)
"""One mistake, at least, for each thing that is looked for."""
