"""The text of a use case, formatted as ruff would format it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from authoring.init.formatting import WIDTH, folded, module_text, names, quoted, spaced, wrapped
from authoring.init.plan import Plan
from authoring.init.profile import Column
from authoring.init.questions import Decided
from authoring.init.render_on_demand import on_demand_import, timezone_text
from authoring.init.render_request import dense_request_text, request_text
from ratchet.sources.declared_table import KNOWN_AT

MOST_LINES = 80
ARROW = {
    "whole": "pa.int64()",
    "number": "pa.float64()",
    "boolean": "pa.bool_()",
    "text": "pa.string()",
    "time": "INSTANT",
}


def use_case_text(plan: Plan) -> str:
    """The text of `use_cases/NAME/__init__.py`, with one line for each field of the request unless there are too many."""
    constants, tables = [] if plan.calendar else [timezone_text(plan)], _tables(plan)
    text = _text(plan, [*constants, request_text(plan), tables])
    if len(text.splitlines()) < MOST_LINES:
        return text
    return _text(plan, ["\n".join([*constants, dense_request_text(plan), tables])])


def _text(plan: Plan, declared: Sequence[str]) -> str:
    body = "\n\n\n".join([*declared, _use_case(plan)])
    summary = f"Predict {plan.decided.label.name}. Written by `ratchet init`: change whatever you like."
    return module_text(summary, body, on_demand_import(plan))


def _rules(plan: Plan) -> str:
    """The `rules=` argument of the table, or nothing if there are no rules."""
    rules = [_rule(*expectation) for expectation in _expectations(plan)]
    return wrapped("rules={", rules, "},", 4) if rules else ""


def _rule(reason: str, expectation: str, given: list[str]) -> str:
    """An entry of a dictionary. Its arguments have their own line if the entry would be too long."""
    return folded(f"{quoted(reason)}: expect(", [quoted(expectation), *given], "),", 8).strip().removesuffix(",")


def _expectations(plan: Plan) -> Iterator[tuple[str, str, list[str]]]:
    """Reason, expectation and arguments of each rule: for the label, for when it is known, and for the entities."""
    decided, label = plan.decided, plan.decided.label
    about = [f"column={quoted(label.name)}"]
    if decided.task == "binary" and label.is_binary and label.kind != "boolean":
        allowed = ["0", "1"] if label.kind == "whole" else [quoted(value) for value in label.counts]
        values = f"value_set=[{', '.join(allowed)}]"
        yield f"{label.name}_is_another_value", "column_values_to_be_in_set", [*about, values]
    elif decided.task == "regression":
        least, most = _bounds(label)
        bounds = [f"min_value={least}", f"max_value={most}"]
        yield f"{label.name}_is_out_of_range", "column_values_to_be_between", [*about, *bounds]
    if not decided.known_after:
        pair = [f"column_A={quoted(decided.known_at)}", f"column_B={quoted(decided.time)}"]
        not_yet = 'ignore_row_if="either_value_is_missing"'
        yield f"{decided.known_at}_is_too_early", "column_pair_values_a_to_be_greater_than_b", [*pair, not_yet]
    for name in decided.entities:
        yield f"no_{name}", "column_values_to_not_be_null", [f"column={quoted(name)}"]


def _bounds(label: Column) -> tuple[str, str]:
    """Bounds: a power of ten, at least ten times the largest absolute value. The lower one is 0 if no value is negative."""
    least, most = label.least or 0.0, label.most or 0.0
    farthest = 10 ** (1 + math.ceil(math.log10(max(abs(least), abs(most), 1))))
    return ("0" if least >= 0 else f"-{farthest}"), str(farthest)


def _tables(plan: Plan) -> str:
    decided = plan.decided
    kept = {column.name: ARROW[column.kind] for column in plan.kept}
    if decided.known_after:
        kept[KNOWN_AT] = ARROW["time"]
    items = [
        quoted(plan.name),
        folded("schema_of(", ["Request", *(f"{name}={kind}" for name, kind in kept.items())], ")", 4).strip(),
        f"key={names(decided.key)}",
        f"event_time={quoted(decided.time)}",
        f"known_at={quoted(decided.known_at)}",
        "early=tuple(Request.model_fields)",
    ]
    rules = _rules(plan)
    lines = [*(f"    {item}," for item in items), *([rules] if rules else [])]
    table = "\n".join(["ROWS = SourceTable(", *lines, ")"])
    windows = [f"WINDOWS = {names(plan.windows)}"] if decided.entities else []
    return "\n".join([table, _source(plan), *windows, *(_view(plan, entity) for entity in decided.entities)])


def _view(plan: Plan, entity: str) -> str:
    scale = [f"scale={plan.scale}"] if plan.scale != 1 else []
    spans = [f"tile={quoted(plan.tile)}", "windows=WINDOWS", f"delay={quoted(plan.delay)}", *scale]
    return folded(f"{_view_name(entity)} = outcomes(", [quoted(entity), "ROWS", label_of(plan.decided), *spans], ")")


def _view_name(entity: str) -> str:
    return f"{entity.upper()}_OUTCOMES"


def label_of(decided: Decided) -> str:
    """The expression that computes the label: 0 or 1, or a number."""
    column, value = f"_[{quoted(decided.label.name)}]", decided.positive
    if value is None:
        return column
    if decided.label.kind == "boolean":
        return column if value.lower() in ("true", "1") else f"~{column}"
    return f"{column} == {quoted(value) if decided.label.kind == 'text' else value}"


def _use_case(plan: Plan) -> str:
    return "\n".join(["use_case = UseCase(", *_arguments(plan), ")"])


def _arguments(plan: Plan) -> Iterator[str]:
    decided = plan.decided
    yield f"    name={quoted(plan.name)},"
    yield f"    task={quoted(decided.task)},"
    yield "    timezone=TIMEZONE,"
    yield f"    label={quoted(decided.label.name)},"
    yield f"    unit={quoted('probability' if decided.task == 'binary' else decided.label.name)},"
    yield "    tables=(ROWS,),"
    yield '    sources={"csv": CSV},'
    yield wrapped("views=(", [_view_name(entity) for entity in decided.entities], "),", 4, ",")
    yield wrapped("lookups=(", [f"outcome_lookup({quoted(entity)})" for entity in decided.entities], "),", 4, ",")
    yield "    request=Request,"
    yield f"    event_timestamp={quoted(decided.time)},"
    yield f"    examples=examples_of(ROWS, Request, {label_of(decided)}),"
    yield wrapped("inputs={", _inputs(plan), "},", 4)
    groups = [plan.baseline[:size] for size in range(len(plan.baseline), -1, -1)]
    yield wrapped("baseline=(", [names(group) for group in groups], "),", 4, ",")
    if plan.calendar or plan.bands:
        yield "    on_demand=on_demand,"
    if decided.scattered_by:
        yield '    split="entity",'


def _source(plan: Plan) -> str:
    decided = plan.decided
    options = ["timezone=TIMEZONE"]
    if decided.known_after and not decided.scattered_by:
        options.append(f"known_after=({quoted(decided.time)}, {_span(decided.known_after)})")
    if decided.scattered_by:
        options.append(f"scattered_by={quoted(decided.scattered_by)}")
    return wrapped("CSV = file_source(", [quoted(plan.name), "ROWS.schema", *options], ")")


def _span(delay: timedelta) -> str:
    """The text of a timedelta, in the largest unit in which it is a whole number."""
    units = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
    seconds = round(delay.total_seconds())
    unit = next(name for name, size in units.items() if seconds % size == 0)
    return f"timedelta({unit}={seconds // units[unit]})"


def _kinds(plan: Plan) -> Iterator[str]:
    """The request's fields as inputs. Categories that do not fit on one line are a list of names."""
    codes = [column.name for column in plan.fields if column.kind == "whole" and column.is_category]
    coded = [name for name in codes if name not in plan.not_inputs]
    nothing = [f"{name}=None" for name in plan.not_inputs]
    line = ", ".join(["Request", *(f'{name}="category"' for name in coded), *nothing])
    if len(line) <= WIDTH - len("        **kinds_of(),"):
        yield f"**kinds_of({line})"
    else:
        yield folded("**kinds_of(", ["Request", *nothing], "),", 8).strip().removesuffix(",")
        yield spaced("**categories(", coded, "),", 8).strip().removesuffix(",")


def _inputs(plan: Plan) -> Iterator[str]:
    """The inputs: the request's fields, calendar, bands, and the past outcomes of the entities."""
    yield from _kinds(plan)
    derived = [*plan.calendar, *([f"{plan.bands[0]}_band"] if plan.bands else [])]
    if derived:
        yield f"**numbers({', '.join(map(quoted, derived))})"
    yield from (f"**outcome_inputs({quoted(entity)}, WINDOWS)" for entity in plan.decided.entities)
