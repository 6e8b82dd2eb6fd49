"""Mistakes that are visible in a use case's declaration, before any row is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from authoring.check.finding import Finding
from authoring.check.source_lines import Declaration
from ratchet.core.errors import RatchetError, SettingsError
from ratchet.core.settings import BLOCKS
from ratchet.core.text import did_you_mean, format_duration
from ratchet.features.expressions import CompiledExpression, compile_labels, compile_requests, compile_view
from ratchet.features.service import service_spec
from ratchet.project.run import Run
from ratchet.use_case.columns import LABEL_COLUMNS
from ratchet.use_case.contract import SourceTable, UseCase


def check_declaration(run: Run, where: Declaration) -> Iterator[Finding]:
    """Check everything that does not need a compiled function."""
    use_case = run.use_case
    yield from _time_zone(use_case, where)
    for table in use_case.tables:
        yield from _table(table, where)
    if use_case.event_timestamp not in use_case.request.model_fields:
        yield Finding(
            "unknown-column",
            where.use_case("event_timestamp"),
            f"`event_timestamp` is {use_case.event_timestamp!r}, which is not a field of {use_case.request.__name__}",
            "Name the field that says when the prediction is requested"
            + did_you_mean(use_case.event_timestamp, use_case.request.model_fields),
        )
    for name in set(use_case.inputs) & set(LABEL_COLUMNS):
        yield Finding(
            "label-in-features",
            where.use_case("inputs"),
            f"`inputs` names {name!r}, which is not known when a prediction is requested",
            "Remove it from `inputs`",
        )
    yield from _block(use_case, run.settings.gate.block, where)


def check_functions(use_case: UseCase, where: Declaration) -> Iterator[Finding]:
    """Compile the views and examples, and check that they fit together."""
    attempts: list[tuple[str, Callable[..., Any], Callable[[], CompiledExpression]]] = [
        *(
            (f"view {view.name!r}", view.compute, lambda view=view: compile_view(use_case, view))
            for view in use_case.views
        ),
        ("`examples`", use_case.examples, lambda: compile_requests(use_case)),
        ("`examples`", use_case.examples, lambda: compile_labels(use_case)),
    ]
    found = [finding for attempt in attempts for finding in _attempted(*attempt, where)]
    yield from dict.fromkeys(found)
    if not found:
        yield from _contradiction(use_case, where)


def failure(subject: str, function: Callable[..., Any], error: BaseException, where: Declaration) -> Finding:
    """A finding about a function of the use case that raised."""
    message = " ".join(str(error).partition("LINE ")[0].split())[:300]  # DuckDB appends its SQL
    return Finding(
        "function-fails",
        where.raised(error) or where.function(function),
        f"{subject} fails with {type(error).__name__}: {message.rstrip('.')}",
        "Fix the function",
    )


def _time_zone(use_case: UseCase, where: Declaration) -> Iterator[Finding]:
    try:
        ZoneInfo(use_case.timezone)
    except (KeyError, ValueError, OSError):
        yield Finding(
            "time-zone",
            where.use_case("timezone"),
            f"`timezone` is {use_case.timezone!r}, which is not a time zone",
            "Give the IANA name of the place whose days count, such as 'Europe/Berlin', or 'UTC'",
        )


def _table(table: SourceTable, where: Declaration) -> Iterator[Finding]:
    for field in table.schema:
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            yield Finding(
                "time-zone",
                where.column(table.name, field.name),
                f"column {field.name!r} of table {table.name!r} is a time without a time zone",
                "Declare it as pa.timestamp('us', 'UTC'), and let the loader turn local times into UTC",
            )
    if not table.key:
        yield Finding(
            "key-not-unique",
            where.table(table.name, "key"),
            f"table {table.name!r} has no key, so that a row delivered twice counts twice",
            "Name in `key` all the columns that together identify a row",
        )
    named = {"key": table.key, "event_time": (table.event_time,), "known_at": (table.known_at,), "early": table.early}
    for keyword, columns in named.items():
        for column in columns:
            if column is not None and column not in table.schema.names:
                yield Finding(
                    "unknown-column",
                    where.table(table.name, keyword),
                    f"`{keyword}` of table {table.name!r} names {column!r}, which is not a column of its schema",
                    f"Name a column of the schema{did_you_mean(column, table.schema.names)}",
                )


def _block(use_case: UseCase, block: str, where: Declaration) -> Iterator[Finding]:
    """Labels of neighbouring blocks that depend on the same rows are not independent draws."""
    length = BLOCKS.get(block)
    if length and use_case.horizon > length:
        yield Finding(
            "block",
            where.setting("gate", "block"),
            f"the bootstrap resamples blocks of a {block}, but a label looks {format_duration(use_case.horizon)} "
            "ahead, so that neighbouring blocks share their outcomes and the gate's bounds come out too narrow",
            "Set `gate.block` to the column of the request that names the entity, or to 'week' if that is long enough",
        )


def _attempted(
    subject: str, function: Callable[..., Any], derive: Callable[[], CompiledExpression], where: Declaration
) -> Iterator[Finding]:
    try:
        derive().schema  # noqa: B018 - compiling is what may fail
    except RatchetError as error:
        yield Finding.of("declaration", where.function(function), error)
    except Exception as error:  # noqa: BLE001 - a use case's function may raise anything
        yield failure(subject, function, error, where)


def _contradiction(use_case: UseCase, where: Declaration) -> Iterator[Finding]:
    try:
        service_spec(use_case)
    except SettingsError as error:
        yield Finding.of("declaration", _about(use_case, error.subject, where), error)


def _about(use_case: UseCase, subject: str, where: Declaration) -> str:
    """The line of the lookup, view or function that a SettingsError is about."""
    lookups = {f"lookup {one.prefix!r}": where.lookup(one.prefix, "keys") for one in use_case.lookups}
    views = {f"view {one.name!r}": where.view(one.name, "keys") for one in use_case.views}
    functions = {name: where.function(getattr(use_case, name)) for name in ("on_demand", "postprocess")}
    named = {**views, **functions}
    return lookups.get(subject) or named.get(subject.partition(",")[0]) or where.use_case("views")
