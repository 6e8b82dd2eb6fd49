"""The step `reconcile`, after training and before scoring: the requested version serves, or is refused."""

from __future__ import annotations

from ratchet.model_registry import promotion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.project.run import Run
from ratchet.project.step_reports import Report


def reconcile(run: Run) -> Report:
    """Let the requested version serve, or write on it why it may not. See `ratchet.model_registry.promotion`."""
    return promotion.reconcile(ModelRegistry.open(run))
