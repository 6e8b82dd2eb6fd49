"""The champion: the version that serves according to the signed history. It is verified before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.core.errors import GateError, RegistryError
from ratchet.features.service import service_spec
from ratchet.gate.refit import Record, RefitRecord
from ratchet.gate.signing import begin_anew
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.promotion_history import Entry, Snapshot
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.tags import FINGERPRINT, KIND
from ratchet.model_registry.version import Version

if TYPE_CHECKING:
    from ratchet.models.model import Model


@dataclass(frozen=True)
class Champion:
    """The model that serves, with the record that admitted it."""

    version: int
    model: Model
    record: Record
    directory: Path


def resolve_champion(store: ModelRegistry) -> Champion:
    """The champion, verified and loaded. There is no other way to the serving model.

    Raises RegistryError if nothing was promoted, or if the promoted version was deleted or changed.
    """
    with open_registry(store, "promotion") as registry:
        snapshot = registry.snapshot()
        version = existing_version(registry, snapshot, last_promotion(registry, snapshot))
        try:
            champion = load_version(registry, version)
            verify_return(registry, snapshot, version)
        except GateError as error:
            raise RegistryError(
                error.problem,
                subject=f"{registry.name} version {version.number}, which serves",
                remedy=f"`ratchet --use-case {store.scope.use_case} stage register` puts back what it lost, if the last "
                f"training made it. Otherwise {way_out(registry, snapshot)}",
            ) from error
        return champion


def resolve_former(store: ModelRegistry, number: int) -> Champion:
    """A version that serves or has served, verified and loaded, to judge what it did then.

    Raises RegistryError if there is no such version, GateError if it never served or was changed.
    """
    with open_registry(store, "promotion") as registry:
        version, snapshot = registry.version(number), registry.snapshot()
        champion = load_version(registry, version)
        verify_return(registry, snapshot, version)
    return champion


def reference_of(store: ModelRegistry, champion: Champion) -> Champion | None:
    """The baseline over which the champion's skill was measured, verified and loaded, or if that was not registered, because
    another model served by then, the last one that served.

    None if the champion is a baseline, or if none ever served. Raises GateError if it was changed.
    """
    judged = champion.record.judged if isinstance(champion.record, RefitRecord) else champion.record
    if judged.kind == "baseline":
        return None
    with open_registry(store, "promotion") as registry:
        version = registry.find(judged.reference) or _last_baseline(registry)
        return load_version(registry, version) if version else None


def _last_baseline(registry: RegistrySession) -> Version | None:
    served, versions = registry.snapshot().served, registry.versions()
    found = (
        number for number, version in versions.items() if version.tags.get(KIND) == "baseline" and number in served
    )
    return versions[last] if (last := max(found, default=None)) else None


def champion_version(store: ModelRegistry) -> int | None:
    """The number of the version that serves according to the signed history, without loading it. None if nothing serves."""
    with open_registry(store, "promotion") as registry:
        entry = registry.snapshot().champion
    return entry.version if entry else None


def champion_fingerprint(store: ModelRegistry) -> str | None:
    """The fingerprint of the champion's features, from its tag: "" if there is none, None if nothing serves."""
    with open_registry(store, "promotion") as registry:
        entry = registry.snapshot().champion
        version = registry.versions().get(entry.version) if entry else None
    return version.tags.get(FINGERPRINT, "") if version else "" if entry else None


def last_promotion(registry: RegistrySession, snapshot: Snapshot) -> Entry:
    if snapshot.champion is None:
        raise RegistryError(
            "no model has been promoted yet",
            subject=f"model {registry.name}",
            remedy="`ratchet status` says why each version does not serve, and what to do; if it lists none, run "
            f"`dvc repro monitor@{registry.store.scope.use_case}`",
        )
    return snapshot.champion


def existing_version(registry: RegistrySession, snapshot: Snapshot, champion: Entry) -> Version:
    """The version that serves. Raises RegistryError if it was deleted."""
    version = registry.versions().get(champion.version)
    if version is None:
        raise RegistryError(
            f"version {champion.version}, which was promoted last, has been deleted",
            subject=f"model {registry.name}",
            remedy=f"To continue, {way_out(registry, snapshot)}",
        )
    return version


def way_out(registry: RegistrySession, snapshot: Snapshot) -> str:
    """The remedy if the version that serves is gone or damaged."""
    if not registry.versions():
        return begin_anew(registry.store.scope)
    champion, servable = snapshot.champion, [version.number for version in on_present_features(registry)]
    back = "`ratchet rollback --reason …`, or " if champion and champion.previous in servable else ""
    return (
        f"ask for a version that `ratchet status` lists: {back}`ratchet promote VERSION`; if none may serve, "
        f"{begin_anew(registry.store.scope)}"
    )


def on_present_features(registry: RegistrySession) -> list[Version]:
    """The versions whose features this code computes, newest first. This is read from a tag that anybody may write, so a
    caller must examine a version before it relies on it."""
    fingerprint = service_spec(registry.store.use_case).fingerprint
    versions = reversed(registry.versions().values())
    return [version for version in versions if version.tags.get(FINGERPRINT) == fingerprint]


def load_version(registry: RegistrySession, version: Version) -> Champion:
    """A version's model, loaded after its record was verified. Raises GateError if record or files are not valid."""
    if not version.digest:
        raise registry.refusal(version, "was not registered through the gate")
    record = registry.record(version)
    model, directory = registry.model(version, record)
    return Champion(version.number, model, record, directory)


def verify_return(registry: RegistrySession, snapshot: Snapshot, version: Version) -> None:
    if snapshot.served.get(version.number) != version.digest:
        raise registry.refusal(version, "was another model when it served")


def judged_version(registry: RegistrySession, record: RefitRecord) -> Version:
    """The version that a refit was made from. Raises GateError if there is none."""
    judged = registry.find(record.judged.candidate)
    if judged is None:
        raise GateError(
            f"its judged model {record.judged.candidate[:12]} is not registered",
            subject=f"refit {record.candidate[:12]} of {registry.name}",
            remedy=f"Run `ratchet --use-case {registry.store.scope.use_case} stage register`, if the last training made it",
        )
    return judged
