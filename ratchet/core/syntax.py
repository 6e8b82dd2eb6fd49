"""Python code as a syntax tree, without the parts that have no effect when it runs.

These are layout, comments, docstrings, annotations of functions, and blocks `if TYPE_CHECKING:`.
"""

from __future__ import annotations

import ast
from typing import Any, TypeGuard

Part = Any
"""A value that JSON can hold."""
_WITHOUT_EFFECT = {"ctx", "kind", "returns", "type_comment"}


def syntax(node: Any) -> Part:
    """A syntax tree without the parts that have no effect, the same in every version of Python."""
    if not isinstance(node, ast.AST):
        return ascii(node)
    return [
        type(node).__name__,
        *([name, part] for name, value in ast.iter_fields(node) if (part := _part(node, name, value))),
    ]


def is_for_types(node: Any) -> TypeGuard[ast.If]:
    """Whether the node is `if TYPE_CHECKING:` or `if typing.TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in {getattr(node.test, name, "") for name in ("id", "attr")}


def _part(node: ast.AST, name: str, value: Any) -> Part:
    """The syntax of a node's field; empty if the field has no effect."""
    if value is None or name in _WITHOUT_EFFECT or (isinstance(node, ast.arg) and name == "annotation"):
        return []
    return [syntax(item) for item in value if not _is_silent(node, item)] if isinstance(value, list) else syntax(value)


def _is_silent(node: ast.AST, item: Any) -> bool:
    """Whether it is a docstring, `...`, for type checkers, or the empty text that Python 3.12 adds to the end of a format."""
    if isinstance(node, ast.JoinedStr):
        return isinstance(item, ast.Constant) and item.value == ""
    if is_for_types(item):
        return not item.orelse
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
