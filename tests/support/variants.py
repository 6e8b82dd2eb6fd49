"""Projects whose use case differs in a detail, without a module of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ratchet.project.project import Project


def with_use_case(project: Project, **changes: Any) -> Project:
    """The project with some fields of its use case changed."""
    return replace(project, given=replace(project.use_case, **changes))


def with_gate(project: Project, **changes: Any) -> Project:
    """The project with some settings of its gate changed."""
    return project.with_settings(gate=project.settings.gate.model_copy(update=changes))


def with_table(project: Project, name: str, **changes: Any) -> Project:
    """The project with some fields of a source table changed."""
    return with_use_case(project, tables=_changed(project.use_case.tables, name, changes))


def with_view(project: Project, name: str, **changes: Any) -> Project:
    """The project with some fields of a view changed."""
    return with_use_case(project, views=_changed(project.use_case.views, name, changes))


def _changed(parts: Iterable[Any], name: str, changes: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(replace(part, **changes) if part.name == name else part for part in parts)
