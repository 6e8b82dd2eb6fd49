"""The status of a registered model, as people see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratchet.core.errors import RegistryError, SettingsError
from ratchet.features.service import service_spec
from ratchet.gate.checks import PLAUSIBLE
from ratchet.gate.confirmation import Confirmation
from ratchet.gate.reasons import how_to_accept
from ratchet.gate.rollout import Rollout, says
from ratchet.model_registry.admission import ways_to_serve
from ratchet.model_registry.champion import existing_version
from ratchet.model_registry.holds import HELD, TAKEN_BACK
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.promotion import WAITS
from ratchet.model_registry.promotion_history import Snapshot
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.signed_tags import parsed
from ratchet.model_registry.tags import (
    COMMIT,
    CONFIRMATION,
    DIRTY,
    EXPERIMENT,
    FAILED,
    FINGERPRINT,
    KIND,
    PREVIOUS,
    REFIT_OF,
    REQUESTED,
    STATUS,
    VERDICT,
)
from ratchet.model_registry.version import Version


def status(store: ModelRegistry) -> dict[str, Any]:
    """The requested version, the champion, the rollout, the hold on the policy, a warning, every version and the promotion
    history."""
    with open_registry(store, "promotion") as registry:
        snapshot = registry.snapshot()
        versions = registry.versions().values()
        numbers = {version.digest: version.number for version in versions}
        warning = _warning(registry, snapshot)
    champion, hold = snapshot.champion, snapshot.hold
    return {
        "requested": snapshot.aliases.get(REQUESTED),
        "champion": champion and champion.version,
        "previous": snapshot.aliases.get(PREVIOUS),
        "hold": hold and {"by": hold.by, "reason": hold.reason, "at": hold.at.isoformat()},
        "rollout": _rollout(snapshot.rollout),
        "warning": warning,
        "versions": [_line(store, snapshot, version, numbers) for version in versions],
        "history": [entry.model_dump(mode="json", exclude={"signature", "model_name"}) for entry in snapshot.history],
    }


def _rollout(running: Rollout | None) -> dict[str, Any] | None:
    if running is None:
        return None
    return {"version": running.version, "step": says(running.step), "by": running.by, "reason": running.reason}


def _warning(registry: RegistrySession, snapshot: Snapshot) -> str | None:
    """A warning about a champion or versions that are missing or unusable, with the remedy; None if all is well."""
    if snapshot.champion:
        try:
            return _other_features(registry, snapshot, existing_version(registry, snapshot, snapshot.champion))
        except RegistryError as error:
            return str(error)
    if registry.versions():
        return None
    how = f"`dvc repro monitor@{registry.store.scope.use_case}` trains and registers"
    return f"MLflow has no version of {registry.name}: {how}, and also brings back what was deleted"


def _other_features(registry: RegistrySession, snapshot: Snapshot, version: Version) -> str | None:
    """A warning, with what to do, if this code cannot serve the champion according to its tags; None if it can."""
    try:
        spec = service_spec(registry.store.use_case)
    except SettingsError:
        return None  # a step that computes features reports this error
    if version.tags.get(FINGERPRINT) == spec.fingerprint:
        return None
    commit = None if version.tags.get(DIRTY) == "true" else version.tags.get(COMMIT)
    return (
        f"version {version.number} was promoted last, but this code computes {spec.name}, and not the features that it was "
        f"trained on: nothing scores with it. {ways_to_serve(registry, snapshot, version.number, commit)}"
    )


def _line(store: ModelRegistry, snapshot: Snapshot, version: Version, numbers: Mapping[str, int]) -> dict[str, Any]:
    tags, confirmation = version.tags, parsed(Confirmation, version.tags.get(CONFIRMATION))
    return {
        "version": version.number,
        "kind": tags.get(KIND),
        "refit_of": numbers.get(tags.get(REFIT_OF, ""), tags.get(REFIT_OF)),
        "confirmation": confirmation and {"outcome": confirmation.outcome, "reason": confirmation.reason},
        "digest": version.digest[:12],
        "verdict": tags.get(VERDICT),
        "commit": tags.get(COMMIT),
        "dirty": tags.get(DIRTY) == "true",
        "experiment": tags.get(EXPERIMENT) or None,
        "status": tags.get(STATUS),
        "failed": tags.get(FAILED) or None,
        "next": None if version.number in snapshot.served else _next(store, version),
    }


def _next(store: ModelRegistry, version: Version) -> str | None:
    """How to get a version that never served, or a better one, to serve; None if its status says it already."""
    verdict, failed = version.tags.get(VERDICT), (version.tags.get(FAILED) or "").split(", ")
    ask = f"`ratchet promote {version.number}"
    if version.tags.get(STATUS, "").startswith((WAITS, TAKEN_BACK, *HELD)):
        return None
    if verdict == "failed":
        return "a refit that failed its checks never serves; its judged model may"
    repro = f"`dvc repro monitor@{store.scope.use_case}`"
    if verdict == "undecided":
        return f"it could not be judged yet. Train a later one: `ratchet advance`, then {repro}"
    if not version.digest:
        return "it was not registered through the gate, and never serves"
    if verdict == "non-inferior":
        return f"not shown to be better, only not to be worse. A person may ask for it: {ask} --reason … --until YYYY-MM-DD`"
    if verdict != "refused":
        return f"{ask}` asks for it, and says what to do if it is refused"
    if all(name.startswith(PLAUSIBLE) for name in failed):
        return f"too good to be true. Sign why a caller knows its inputs in time: {how_to_accept(store.scope)}; then {repro}"
    return (
        f"a refused model never serves. Train a better one: {repro}; `ratchet summary` shows each check of the last one"
    )
