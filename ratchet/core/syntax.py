"""Python code as a syntax tree without what has no effect: layout, comments, docstrings, and what is for type checkers alone.

That is an annotation of a function, and a block `if TYPE_CHECKING:`.
"""

from __future__ import annotations

import ast
from typing import Any, TypeGuard

Part = Any
"""What JSON can hold."""
_WITHOUT_EFFECT = {"ctx", "kind", "returns", "type_comment"}


def syntax(node: Any) -> Part:
    """A syntax tree without what has no effect, the same in every version of Python."""
    if not isinstance(node, ast.AST):
        return ascii(node)
    return [
        type(node).__name__,
        *([name, part] for name, value in ast.iter_fields(node) if (part := _part(node, name, value))),
    ]


def is_for_types(node: Any) -> TypeGuard[ast.If]:
    """Whether it is `if TYPE_CHECKING:`, or the same with its module's name."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in {getattr(node.test, name, "") for name in ("id", "attr")}


def _part(node: ast.AST, name: str, value: Any) -> Part:
    """A field of a node; empty where it has no effect."""
    if value is None or name in _WITHOUT_EFFECT or (isinstance(node, ast.arg) and name == "annotation"):
        return []
    return [syntax(item) for item in value if not _is_silent(node, item)] if isinstance(value, list) else syntax(value)


def _is_silent(node: ast.AST, item: Any) -> bool:
    """A docstring, three dots, what type checkers read, or the empty text that Python 3.12 finds at the end of a format."""
    if isinstance(node, ast.JoinedStr):
        return isinstance(item, ast.Constant) and item.value == ""
    if is_for_types(item):
        return not item.orelse
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
