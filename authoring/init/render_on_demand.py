"""The text of the module that computes columns from a request and its features."""

from __future__ import annotations

from collections.abc import Iterator

from authoring.init.formatting import module_text, quoted, wrapped
from authoring.init.plan import TIMES, Plan

SUMMARY = "Columns computed from a request and its features. Import little here: a changed import requires a new model."
CALENDAR = 'calendar(columns["event_timestamp"], TIMEZONE)'


def on_demand_text(plan: Plan) -> str:
    """The text of `use_cases/NAME/on_demand.py`; empty if no column is computed from a request."""
    if not (plan.calendar or plan.bands):
        return ""
    constant = timezone_text(plan) if plan.calendar else ""
    body = "\n\n\n".join(filter(None, [constant, "\n".join(_function(plan))]))
    return module_text(SUMMARY, body)


def on_demand_import(plan: Plan) -> str:
    """The line that imports the function, and the time zone if it is defined there; empty if there is no such module."""
    given = [*(["TIMEZONE"] if plan.calendar else []), *(["on_demand"] if plan.calendar or plan.bands else [])]
    return f"from use_cases.{plan.name}.on_demand import {', '.join(given)}" if given else ""


def timezone_text(plan: Plan) -> str:
    return f"TIMEZONE = {quoted(plan.decided.timezone)}"


def _function(plan: Plan) -> Iterator[str]:
    yield "def on_demand(columns: Columns) -> Columns:"
    yield '    """Compute columns from a request and its features. Training and the online service call the same function."""'
    entries = list(_calendar(plan))
    if plan.bands:
        name, edges = plan.bands
        cuts = ", ".join(f"{edge:g}" for edge in edges)
        yield f"    band = np.digitize(columns[{quoted(name)}], [{cuts}])"
        entries.append(f'"{name}_band": band.astype(np.float64)')
    yield f"    return {CALENDAR}" if entries == [f"**{CALENDAR}"] else wrapped("return {", entries, "}", 4)


def _calendar(plan: Plan) -> Iterator[str]:
    """All columns of `calendar`, or only those whose names are not columns of the file."""
    if len(plan.calendar) == len(TIMES):
        yield f"**{CALENDAR}"
    else:
        yield from (f'"{name}": {CALENDAR}["{name}"]' for name in plan.calendar)
