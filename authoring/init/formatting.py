"""Python text as ruff would format it: literals, long lines, imports."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable

WIDTH = 120
STANDARD = ("from datetime import timedelta",)
OTHERS = ("import numpy as np", "import pyarrow as pa", "from ibis import _")
PYDANTIC = ("from pydantic import AwareDatetime, BaseModel, Field",)
HOUSE = (
    "from ratchet.core.clock import calendar",
    "from ratchet.sources.file_source import file_source",
    "from ratchet.use_case.contract import INSTANT, Columns, SourceTable, UseCase, expect",
    "from ratchet.use_case.request_fields import categories, kinds_of, numbers, request_of, schema_of",
    "from ratchet.use_case.single_table import examples_of, outcome_inputs, outcome_lookup, outcomes",
)


def quoted(text: str) -> str:
    """A string literal with the quotes that ruff would choose."""
    literal = json.dumps(text, ensure_ascii=False)
    return repr(text) if '"' in text and "'" not in text else literal


def wrapped(opening: str, items: Iterable[str], closing: str, indent: int = 0, lone: str = "") -> str:
    """All on one line if it fits, else one item a line. `lone` is the comma that follows the only item of a tuple."""
    parts, margin = list(items), " " * indent
    line = f"{margin}{opening}{', '.join(parts)}{lone if len(parts) == 1 else ''}{closing}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{margin}{opening}", *(f"{margin}    {part}," for part in parts), f"{margin}{closing}"])


def folded(opening: str, items: Iterable[str], closing: str, indent: int = 0) -> str:
    """As `wrapped`, but all items share one indented line if they fit on it."""
    parts, margin = list(items), " " * indent
    within = f"{margin}    {', '.join(parts)}"
    line = wrapped(opening, parts, closing, indent)
    return line if "\n" not in line or len(within) > WIDTH else f"{margin}{opening}\n{within}\n{margin}{closing}"


def spaced(opening: str, given: Iterable[str], closing: str, indent: int = 0) -> str:
    """A string of names separated by spaces, over several lines if one line is too short."""
    text, margin = " ".join(given), " " * indent
    line = f'{margin}{opening}"{text}"{closing}'
    if len(line) <= WIDTH:
        return line
    *others, last = textwrap.wrap(text, WIDTH - indent - 8)
    within = [*(f'"{part} "' for part in others), f'"{last}"']
    return "\n".join([f"{margin}{opening}", *(f"{margin}    {part}" for part in within), f"{margin}{closing}"])


def names(columns: Iterable[str]) -> str:
    """The text of a tuple of strings."""
    given = [quoted(column) for column in columns]
    return f"({', '.join(given)}{',' if len(given) == 1 else ''})"


def module_text(summary: str, body: str, own: str = "") -> str:
    """The text of a module with the imports that its body uses. `own` is a line that imports from its package."""
    gap = "\n" * (3 if body.startswith(("class ", "def ")) else 2)
    return f'"""{summary}"""\n\nfrom __future__ import annotations\n\n{_imports(body, own)}{gap}{body}\n'


def _imports(body: str, own: str) -> str:
    """The imports that the body uses: standard library, other libraries, Ratchet, and the line `own`."""
    groups = (STANDARD, OTHERS, PYDANTIC, HOUSE)
    standard, others, pydantic, house = ([_import(line, body) for line in group] for group in groups)
    blocks = ("\n".join(filter(None, block)) for block in (standard, [*others, *pydantic], [*house, own]))
    return "\n\n".join(filter(None, blocks))


def _import(line: str, body: str) -> str:
    """`from MODULE import A, B` with the names that the body uses, or nothing."""
    head, _, given = line.rpartition("import ")
    used = [name for name in given.split(", ") if _is_used(name.rpartition(" as ")[2], body)]
    return f"{head}import {', '.join(used)}" if used else ""


def _is_used(name: str, body: str) -> bool:
    """Whether the body calls or indexes the name, or takes an attribute of it. A capitalized name is never a column."""
    follows = r"(?![\w\"'])" if name[:2].isupper() or name[:2].istitle() else r"(?=[\[(.])"
    return re.search(rf"(?<![\w.\"']){name}{follows}", body) is not None
