"""The model registry of a scope: one registered model, with its versions and aliases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ratchet.core.paths import Paths
from ratchet.core.scope import Scope
from ratchet.gate.gate import Gate

if TYPE_CHECKING:
    from ratchet.project.run import Run
    from ratchet.use_case.contract import UseCase


@dataclass(frozen=True)
class ModelRegistry:
    """Where the registered model is stored, and everything needed to read and change it. `open_registry` opens it.

    `address` and `artifact_location` are MLflow's; if they are empty, database and artifacts lie under state/. The use case is
    loaded only when it is used, because most readers do not need it.
    """

    paths: Paths
    gate: Gate
    address: str
    artifact_location: str
    load_use_case: Callable[[], UseCase]
    rolls_out: bool
    """Whether the policy rolls a superior version out step by step, instead of promoting it at once."""

    @classmethod
    def open(cls, run: Run) -> ModelRegistry:
        """The registry of a run's use case."""
        environment = run.environment
        return cls(
            run.paths,
            Gate.open(run),
            environment.tracking_uri,
            environment.artifact_location,
            partial(_use_case, run),
            run.settings.serving.rollout.by_policy,
        )

    @property
    def scope(self) -> Scope:
        return self.paths.scope

    @property
    def use_case(self) -> UseCase:
        return self.load_use_case()


def _use_case(run: Run) -> UseCase:
    return run.use_case
