"""Projects whose use case differs in a detail, without a module of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ratchet.project import Project


def with_use_case(project: Project, **changes: Any) -> Project:
    """The project with some fields of its use case changed."""
    other = replace(project)
    other.__dict__["use_case"] = replace(project.use_case, **changes)  # what its cached property would hold
    return other
