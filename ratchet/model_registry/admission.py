"""May a version serve? Only if its record and files are valid, this code computes its features, and the gate admits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet.core.errors import GateError, OtherFeaturesError
from ratchet.features.service import service_spec
from ratchet.gate.record import Waiver, admit
from ratchet.gate.refit import RefitRecord, admit_refit
from ratchet.model_registry.champion import (
    Champion,
    judged_version,
    load_version,
    on_present_features,
    resolve_champion,
    verify_return,
)
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.promotion_history import Snapshot
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.tags import VERDICT
from ratchet.model_registry.version import Version

if TYPE_CHECKING:
    from ratchet.models.contract import Contract


def examine(registry: RegistrySession, snapshot: Snapshot, version: Version) -> Waiver | None:
    """The waiver under which the version may serve, if it needs one.

    A version that has served may return; any other must be admitted by the gate. A refit must be admitted together with its
    judged model, which has to be registered. Raises GateError if the version may not serve.
    """
    record = load_servable(registry, snapshot, version).record
    if version.number in snapshot.served:
        verify_return(registry, snapshot, version)
        return None
    champion = snapshot.champion.digest if snapshot.champion else None
    if isinstance(record, RefitRecord):
        load_servable(registry, snapshot, judged_version(registry, record))
        admit_refit(record, version.digest, champion, registry.store.gate)
        return None
    return admit(record, version.digest, champion, registry.waiver(version), registry.store.gate)


def load_servable(registry: RegistrySession, snapshot: Snapshot, version: Version) -> Champion:
    """A version's model and record. Raises GateError if they are not valid, or if this code computes other features."""
    loaded = load_version(registry, version)
    if not computes_features(registry.store, loaded.model.contract):
        raise other_features(registry.store, loaded, _ways_to_ask(registry, snapshot, loaded))
    return loaded


def computes_features(store: ModelRegistry, contract: Contract) -> bool:
    """Whether this code computes the features that the model was trained on. Steps and the service use no other model."""
    return contract.fingerprint == service_spec(store.use_case).fingerprint


def other_features(store: ModelRegistry, loaded: Champion, remedy: str) -> OtherFeaturesError:
    """The error for a model whose features this code does not compute."""
    contract = loaded.model.contract
    return OtherFeaturesError(
        f"was trained on feature service {contract.feature_service}, and this code computes "
        f"{service_spec(store.use_case).name}",
        subject=f"model {contract.model_name} version {loaded.version}",
        remedy=remedy,
    )


def load_champion(store: ModelRegistry) -> Champion:
    """The champion. Raises RegistryError or GateError if nothing may serve, or if this code computes other features."""
    champion = resolve_champion(store)
    contract = champion.model.contract
    if not computes_features(store, contract):
        with open_registry(store, "promotion") as registry:
            commit = None if contract.dirty else contract.commit
            ways = ways_to_serve(registry, registry.snapshot(), champion.version, commit)
        raise other_features(store, champion, ways)
    return champion


def ways_to_serve(registry: RegistrySession, snapshot: Snapshot, version: int, commit: str | None) -> str:
    """The remedy if the version that serves reads features that this code no longer computes; also valid after a rollback.
    `commit` is the version's own, if it was made from one."""
    return f"{_onward(registry, snapshot)}. Or go back to the features of version {version}: {_back(commit)}"


def _onward(registry: RegistrySession, snapshot: Snapshot) -> str:
    """How to get a version on the present features to serve: one that may serve now, a better one, or a new one."""
    if number := _promotable(registry, snapshot):
        return f"`ratchet promote {number}` lets a version on the present features serve"
    if versions := on_present_features(registry):
        return f"Version {versions[0].number} is on the present features, but {_objection(registry, snapshot, versions[0])}"
    held = "`ratchet release --reason …`, which ends the hold of the rollback, then " if snapshot.hold else ""
    return (
        f"Run {held}`dvc repro monitor@{registry.store.scope.use_case}`: it trains a model on the present features, which "
        "serves if it is better. If it is refused, `ratchet summary` shows why"
    )


def _objection(registry: RegistrySession, snapshot: Snapshot, version: Version) -> str:
    try:
        examine(registry, snapshot, version)
    except GateError as error:
        return f"{error.problem}. {error.remedy.rstrip('.')}"
    return f"does not serve yet: `ratchet promote {version.number}`"


def _ways_to_ask(registry: RegistrySession, snapshot: Snapshot, refused: Champion) -> str:
    """The remedy for a refused request for a version whose features this code does not compute."""
    number, contract = _promotable(registry, snapshot), refused.model.contract
    commit = None if contract.dirty else contract.commit
    other = f"Ask for a version on the present features: `ratchet promote {number}`. " if number else ""
    return f"{other}For version {refused.version}: {_back(commit)}, ask for it there, and start the service there"


def _back(commit: str | None) -> str:
    if commit:
        return f"`git checkout {commit[:12]}`"
    return "restore the code that it was trained with, which was never committed"


def _promotable(registry: RegistrySession, snapshot: Snapshot) -> int | None:
    """The newest version that this code can serve and that would be admitted now, other than the one that serves."""
    serves = snapshot.champion and snapshot.champion.version
    for version in on_present_features(registry):
        if version.number != serves and (version.number in snapshot.served or version.tags.get(VERDICT) != "refused"):
            try:
                examine(registry, snapshot, version)
            except GateError:
                continue
            return version.number
    return None
