"""The text of a use case, as the house would have formatted it, and of its test."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator

from cli.init.look import FEW, Column
from cli.init.plan import CALENDAR_CODE, Plan
from ratchet.csv_source import AS_OF, KNOWN_AT

WIDTH = 120
TYPES = {"whole": "int", "number": "float", "boolean": "bool", "text": "str"}
ARROW = {
    "whole": "pa.int64()",
    "number": "pa.float64()",
    "boolean": "pa.bool_()",
    "text": "pa.string()",
    "time": "INSTANT",
}
LIBRARY = {"pa.": "import pyarrow as pa", "np.": "import numpy as np", "ibis.": "import ibis", "_.": "from ibis import _"}


def use_case_text(plan: Plan) -> str:
    """`use_cases/NAME/__init__.py`."""
    body = "\n\n\n".join(_sections(plan))
    return f'"""{_summary(plan)} Begun by `ratchet init`; all of it is yours to change."""\n\n{_imports(body)}\n\n{body}\n'


def _sections(plan: Plan) -> Iterator[str]:
    has_calendar = bool(plan.calendar or plan.bands)
    yield f"TIMEZONE = {quoted(plan.decided.timezone)}"
    yield _request(plan)
    yield _rules(plan)
    yield _table(plan)
    if has_calendar:
        yield _on_demand(plan)
    yield _examples(plan)
    yield _use_case(plan, has_calendar)


def quoted(text: str) -> str:
    """A string literal with the quotes that the formatter would choose."""
    literal = json.dumps(text, ensure_ascii=False)
    return repr(text) if '"' in text and "'" not in text else literal


def wrapped(opening: str, items: Iterable[str], closing: str) -> str:
    """On one line where that fits, else one item a line."""
    parts = list(items)
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(opening) - len(opening.lstrip()))
    return "\n".join([opening, *(f"{indent}    {part}," for part in parts), f"{indent}{closing}"])


def _summary(plan: Plan) -> str:
    return f"Predict {plan.decided.label.name} when a request comes in."


def _imports(body: str) -> str:
    """Those that the body needs, in order."""
    used = [line for mark, line in LIBRARY.items() if mark in body]
    return body and "\n".join(used)
