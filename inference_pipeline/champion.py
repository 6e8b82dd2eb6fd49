"""The model that batch, online and monitoring use: the verified champion, if this code computes the features that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ratchet.core.errors import RegistryError
from ratchet.model_registry.admission import computes_features, other_features, ways_to_serve
from ratchet.model_registry.champion import Champion, champion_version, resolve_champion
from ratchet.project.project import Project


def load_champion(project: Project) -> Champion:
    """What serves. Raises RegistryError or GateError where nothing may, or where its feature service is not this code's."""
    champion = resolve_champion(project)
    if not computes_features(project, champion.model.contract):
        raise other_features(project, champion, ways_to_serve(project, champion))
    return champion


@contextmanager
def champion_throughout(project: Project) -> Iterator[Champion]:
    """`load_champion`, for a step whose outputs are the champion's. Raises RegistryError where it no longer serves at the end:
    DVC looks at what a step depends on when it has ended, and would take the outputs for those of the version that serves then.
    """
    champion = load_champion(project)
    yield champion
    if champion_version(project) != champion.version:
        raise RegistryError(
            "gave way to another version while this ran",
            subject=f"model {project.namespace} version {champion.version}",
            remedy="Run the same again, with what serves now",
        )
