"""The champion for a step of batch scoring or monitoring, whose outputs are made by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ratchet.core.errors import RegistryError
from ratchet.model_registry.admission import load_champion
from ratchet.model_registry.champion import Champion, champion_version
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.project.run import Run


@contextmanager
def champion_throughout(run: Run) -> Iterator[Champion]:
    """`load_champion`, for a step whose outputs are the champion's. Raises RegistryError where it no longer serves at the end:
    DVC looks at what a step depends on when it has ended, and would take the outputs for those of the version that serves then.
    """
    registry = ModelRegistry.open(run)
    champion = load_champion(registry)
    yield champion
    if champion_version(registry) != champion.version:
        raise RegistryError(
            "gave way to another version while this ran",
            subject=f"model {run.scope.namespace} version {champion.version}",
            remedy="Run the same again, with what serves now",
        )
