"""The champion for batch scoring, which follows only one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ratchet.core.errors import ReplacedError
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.champion import Champion, champion_version
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.project.run import Run


@contextmanager
def champion_throughout(run: Run) -> Iterator[Champion]:
    """The champion, for a step whose outputs depend on it. Raises ReplacedError if it no longer serves when the step ends.

    DVC records a step's dependencies when the step has ended. It would record the outputs as those of the new version.
    """
    registry = ModelRegistry.open(run)
    champion = load_champion(registry)
    yield champion
    if champion_version(registry) != champion.version:
        raise ReplacedError(
            "gave way to another version while this ran",
            subject=f"model {run.scope.namespace} version {champion.version}",
            remedy="Run the same command again: it will use the version that serves now",
        )
