"""Refits in the registry: the version that a refit was made from, and what became of it after it was promoted.

The answer about a refit that served is kept on its version, in a signed tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet.core.errors import GateError
from ratchet.gate.confirmation import Confirmation, verify_confirmation
from ratchet.gate.refit import RefitRecord
from ratchet.model_registry import promotion
from ratchet.model_registry.champion import Champion, judged_version, load_version
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.signed_tags import parsed
from ratchet.model_registry.tags import CONFIRMATION
from ratchet.model_registry.version import Version

if TYPE_CHECKING:
    from ratchet.models.model import Model


def judged_model(store: ModelRegistry, refit: Champion) -> Model:
    """The model from which a refit was made. Raises GateError if the registry does not hold it, or if it is not valid."""
    assert isinstance(refit.record, RefitRecord)
    with open_registry(store, "promotion") as registry:
        return load_version(registry, judged_version(registry, refit.record)).model


def answered(store: ModelRegistry, refit: Champion) -> Confirmation | None:
    """The final answer about a refit, if there is one."""
    with open_registry(store, "promotion") as registry:
        return _answer(registry, registry.version(refit.version))


def _answer(registry: RegistrySession, version: Version) -> Confirmation | None:
    """The answer in a version's tag; None if there is none yet, or if it is not valid."""
    found = parsed(Confirmation, version.tags.get(CONFIRMATION))
    if found is None or found.outcome == "pending" or found.refit != version.digest:
        return None
    try:
        verify_confirmation(found, registry.store.gate)
    except GateError:
        return None
    return found


def settle(store: ModelRegistry, confirmation: Confirmation) -> None:
    """Write the confirmation on the refit's version. If it says so for the first time, its judged model serves again.

    The version gets the answer last, so that this can be killed and repeated. Raises GateError if it is not valid.
    """
    verify_confirmation(confirmation, store.gate)
    with open_registry(store, "promotion") as registry:
        version, champion = registry.find(confirmation.refit), registry.snapshot().champion
        if version is None or _answer(registry, version):
            return
        judged, is_withdrawn = registry.find(confirmation.judged), confirmation.outcome == "withdrawn"
        serves = champion is not None and champion.digest == confirmation.refit
        if is_withdrawn and serves and judged is not None:
            registry.request(judged.number, promotion.POLICY, confirmation.reason, by_policy=True)
    if is_withdrawn:
        promotion.reconcile(store)
    with open_registry(store, "promotion") as registry:
        registry.tag(version, CONFIRMATION, confirmation.model_dump_json())
