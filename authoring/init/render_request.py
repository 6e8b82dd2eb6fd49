"""The text of a request model: one line for each field, or several fields on a line if there are many."""

from __future__ import annotations

from authoring.init.formatting import quoted, spaced
from authoring.init.plan import Plan
from authoring.init.profile import Column

TYPES = {"whole": "int", "number": "float", "boolean": "bool", "text": "str"}
SORTS = {
    "text": ("texts", "texts"),
    "boolean": ("flags", "flags"),
    "whole": ("integers", "counts"),
    "number": ("numbers", "amounts"),
}
"""Kind of a column → the argument of request_of for such columns, and the argument for those that are never negative."""


def request_text(plan: Plan) -> str:
    decided = plan.decided
    about = "now" if decided.scattered_by else f"at {decided.time}"
    fields = [_field(column, plan) for column in plan.fields]
    lines = ["class Request(BaseModel):", f'    """What a caller knows {about}."""', "", *fields]
    return "\n".join([*lines, f"    {decided.time}: AwareDatetime"])


def dense_request_text(plan: Plan) -> str:
    """The same fields by type, several on a line."""
    fields: dict[str, list[str]] = {}
    for column in plan.fields:
        plain, bounded = SORTS[column.kind]
        fields.setdefault(bounded if column.least is not None and column.least >= 0 else plain, []).append(column.name)
    optional = [column.name for column in plan.fields if column.filled < plan.rows]
    sorts = [*fields.items(), *([("optional", optional)] if optional else [])]
    arguments = [_argument(sort, given) for sort, given in sorts]
    return "\n".join(["Request = request_of(", f"    {quoted(plan.decided.time)},", *arguments, ")"])


def _argument(sort: str, given: list[str]) -> str:
    line = spaced(f"{sort}=", given, ",", 4)
    return line if "\n" not in line else spaced(f"{sort}=(", given, "),", 4)


def _field(column: Column, plan: Plan) -> str:
    """A field with its bound. A column that is empty in some rows is an optional field."""
    is_optional = column.filled < plan.rows
    bounds = ["ge=0"] if column.least is not None and column.least >= 0 else []
    kind = f"{TYPES[column.kind]}{' | None' if is_optional else ''}"
    default = ["None"] if is_optional else []
    if bounds:
        return f"    {column.name}: {kind} = Field({', '.join([*default, *bounds])})"
    return f"    {column.name}: {kind}{' = None' if is_optional else ''}"
