"""The model that batch, online and monitoring use: the verified champion, if this code computes the features that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ratchet.core.errors import GateError, RegistryError
from ratchet.features.service import service_spec
from ratchet.model_registry.champion import Champion, champion_version, resolve_champion
from ratchet.project.project import Project


def load_champion(project: Project) -> Champion:
    """What serves. Raises RegistryError or GateError where nothing may, or where its feature service is not this code's."""
    champion = resolve_champion(project)
    contract, service = champion.model.contract, service_spec(project.use_case)
    if contract.fingerprint != service.fingerprint:
        raise GateError(
            f"was trained on feature service {contract.feature_service}, and this code computes {service.name}",
            subject=f"model {contract.model_name} version {champion.version}",
            remedy=_way_on(project, champion),
        )
    return champion


def _way_on(project: Project, champion: Champion) -> str:
    """A new model on the present features, or the features that the champion has."""
    commit = champion.model.contract.commit
    back = f": `git checkout {commit[:12]}`" if commit and not champion.model.contract.dirty else ""
    step = f"monitor@{project.settings.use_case}"
    return (
        f"Run `dvc repro {step}`: it trains a model on the present features, which serves if it is better. If it is "
        "refused, `ratchet summary` shows why; then improve it, or go back to the code that the champion was "
        f"trained with{back}"
    )


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
