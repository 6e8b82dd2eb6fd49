"""The text of the module that makes columns of a request and its features."""

from __future__ import annotations

from collections.abc import Iterator

from authoring.init.formatting import module_text, quoted, wrapped
from authoring.init.plan import TIMES, Plan

SUMMARY = "Columns made of a request and its features. It may import few modules: a change of one asks for a new model."
CALENDAR = 'calendar(columns["event_timestamp"], TIMEZONE)'


def on_demand_text(plan: Plan) -> str:
    """`use_cases/NAME/on_demand.py`; empty where nothing follows from a request but what it says."""
    if not (plan.calendar or plan.bands):
        return ""
    constant = timezone_text(plan) if plan.calendar else ""
    body = "\n\n\n".join(filter(None, [constant, "\n".join(_function(plan))]))
    return module_text(SUMMARY, body)


def on_demand_import(plan: Plan) -> str:
    """The line by which the use case has the function, with the time zone where that one has it; empty where there is none."""
    given = [*(["TIMEZONE"] if plan.calendar else []), *(["on_demand"] if plan.calendar or plan.bands else [])]
    return f"from use_cases.{plan.name}.on_demand import {', '.join(given)}" if given else ""


def timezone_text(plan: Plan) -> str:
    return f"TIMEZONE = {quoted(plan.decided.timezone)}"


def _function(plan: Plan) -> Iterator[str]:
    yield "def on_demand(columns: Columns) -> Columns:"
    yield '    """What follows from a request and its features, by one function in training and online."""'
    entries = list(_calendar(plan))
    if plan.bands:
        name, edges = plan.bands
        cuts = ", ".join(f"{edge:g}" for edge in edges)
        yield f"    band = np.digitize(columns[{quoted(name)}], [{cuts}])"
        entries.append(f'"{name}_band": band.astype(np.float64)')
    yield f"    return {CALENDAR}" if entries == [f"**{CALENDAR}"] else wrapped("return {", entries, "}", 4)


def _calendar(plan: Plan) -> Iterator[str]:
    """All that `calendar` gives, or what no column of the file has the name of."""
    if len(plan.calendar) == len(TIMES):
        yield f"**{CALENDAR}"
    else:
        yield from (f'"{name}": {CALENDAR}["{name}"]' for name in plan.calendar)
