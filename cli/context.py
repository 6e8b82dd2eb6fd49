"""The run and the registry of a command: for the use case that `--use-case` names, or that params.yaml selects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ratchet.model_registry.model_registry import ModelRegistry
    from ratchet.project.run import Run


def current_run() -> Run:
    """The run of the command that is being executed. Raises SettingsError."""
    from ratchet.project.run import Run

    return Run.load(use_case=click.get_current_context().obj)


def current_registry() -> ModelRegistry:
    """The model registry of the command that is being executed. Raises SettingsError."""
    from ratchet.model_registry.model_registry import ModelRegistry

    return ModelRegistry.open(current_run())


def as_json(value: Any) -> str:
    """A value as indented JSON."""
    return json.dumps(value, indent=2, default=str)
