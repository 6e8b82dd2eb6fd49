"""Runs whose use case differs in a detail, without a module of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ratchet.project.run import Run


def with_use_case(run: Run, **changes: Any) -> Run:
    """The project with some fields of its use case changed."""
    return replace(run, given=replace(run.use_case, **changes))


def with_gate(run: Run, **changes: Any) -> Run:
    """The project with some settings of its gate changed."""
    return run.with_settings(gate=run.settings.gate.model_copy(update=changes))


def with_table(run: Run, name: str, **changes: Any) -> Run:
    """The project with some fields of a source table changed."""
    return with_use_case(run, tables=_changed(run.use_case.tables, name, changes))


def with_view(run: Run, name: str, **changes: Any) -> Run:
    """The project with some fields of a view changed."""
    return with_use_case(run, views=_changed(run.use_case.views, name, changes))


def _changed(parts: Iterable[Any], name: str, changes: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(replace(part, **changes) if part.name == name else part for part in parts)
