"""Rollouts: a person lets a challenger answer beside the champion, step by step, until it is promoted or taken back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ratchet.core.errors import GateError, RegistryError
from ratchet.gate.refit import Record
from ratchet.gate.rollout import STRATEGIES, Change, Plan, Rollout, Step, share_of
from ratchet.model_registry.admission import examine, load_servable
from ratchet.model_registry.champion import Champion, last_promotion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.promotion import POLICY, grounds, may_ask, promote, promote_by_policy, reconcile
from ratchet.model_registry.promotion_history import ROLLOUTS, Snapshot
from ratchet.model_registry.rollout_state import settle_rollout
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.version import Version
from ratchet.model_registry.waivers import require_author, sign_waiver

if TYPE_CHECKING:
    from ratchet.models.contract import Contract


def start(
    store: ModelRegistry, version: int, plan: Plan, *, by: str, reason: str, until: datetime | None = None
) -> Rollout:
    """Begin to roll out a version. `until` makes `reason` a waiver, under which a non-inferior version may answer.

    A version whose record and files are valid may predict in the shadow, whatever its verdict: nobody gets its answers. To
    answer, it must be admitted as a champion is. Raises GateError if it may not do its first step, RegistryError if another
    rollout goes on, or nothing serves yet.
    """
    require_author(store, by, reason)
    with open_registry(store, "promotion") as registry:
        snapshot, challenger = registry.snapshot(), registry.version(version)
        _require_none(store, snapshot)
        champion = last_promotion(registry, snapshot)
        if champion.version == version:
            raise RegistryError(
                "serves already", subject=f"version {version}", remedy="Name another one that `ratchet status` lists"
            )
        if until is not None:
            sign_waiver(registry, challenger, by, reason, until)
        _admit(registry, snapshot, registry.version(version), plan.steps[0])
        number = _next_number(snapshot)
        change = Rollout(
            model_name=store.scope.namespace,
            number=number,
            started=number,
            kind="start",
            version=version,
            digest=challenger.digest,
            champion=champion.digest,
            promotion=snapshot.promotion,
            plan=plan,
            at_step=0,
            by=by,
            reason=reason,
            at=store.gate.clock.now(),
        )
        return _write(registry, change)


def start_by_policy(store: ModelRegistry, version: int, contract: Contract, record: Record) -> None:
    """Begin to roll a superior version out for the policy: as a canary, which a person advances. If only a person may begin
    that, write on the version why; if nothing serves yet, promote it."""
    with open_registry(store, "promotion") as registry:
        serves = registry.snapshot().champion is not None
        may = may_ask(registry, version, contract, record) if serves else False
    if may:
        start(store, version, STRATEGIES["canary"], by=POLICY, reason=grounds(record))
    elif not serves:
        promote_by_policy(store, version, contract, record)
    else:
        reconcile(store)


def advance(store: ModelRegistry, *, by: str, reason: str) -> Rollout | None:
    """Go to the next step; after the last one promote the challenger, and return None.

    Raises GateError if the challenger may not do it, RegistryError if no rollout goes on.
    """
    require_author(store, by, reason)
    with open_registry(store, "promotion") as registry:
        snapshot = registry.snapshot()
        running = _running(store, snapshot)
        challenger = _challenger(registry, running)
        if running.next_step is not None:
            _admit(registry, snapshot, challenger, running.next_step)
            return _write(registry, _next(store, snapshot, running, "advance", running.at_step + 1, by, reason))
    promote(store, running.version, by=by, reason=reason)
    return None


def abort(store: ModelRegistry, *, by: str, reason: str, started: int | None = None) -> Rollout | None:
    """Take the challenger back: the champion answers everybody at once. `started` is the number of the rollout that is meant;
    if another one goes on, nothing happens, and None is returned.

    Raises RegistryError if no rollout goes on, and none was named.
    """
    require_author(store, by, reason)
    with open_registry(store, "promotion") as registry:
        snapshot = registry.snapshot()
        if started is not None and (snapshot.rollout is None or snapshot.rollout.started != started):
            settle_rollout(registry)
            return None
        running = _running(store, snapshot)
        return _write(registry, _next(store, snapshot, running, "abort", running.at_step, by, reason))


def running(store: ModelRegistry) -> Rollout | None:
    """The rollout that goes on."""
    with open_registry(store, "promotion") as registry:
        return registry.snapshot().rollout


def load_challenger(store: ModelRegistry, rollout: Rollout) -> Champion:
    """The model that is rolled out, verified and loaded. Raises GateError if it may not answer."""
    with open_registry(store, "promotion") as registry:
        return load_servable(registry, registry.snapshot(), _challenger(registry, rollout))


def changes(store: ModelRegistry) -> tuple[Rollout | None, list[Rollout]]:
    """The rollout that goes on, and the valid changes of the last one in order. The list is empty if there never was any."""
    with open_registry(store, "promotion") as registry:
        snapshot = registry.snapshot()
    valid = [change for change in snapshot.rollouts.values() if change]
    return snapshot.rollout, [change for change in valid if change.started == valid[-1].started]


def _admit(registry: RegistrySession, snapshot: Snapshot, challenger: Version, step: Step) -> None:
    """Raises GateError unless the challenger may do a step."""
    if share_of(step):
        examine(registry, snapshot, challenger)
    else:
        load_servable(registry, snapshot, challenger)


def _challenger(registry: RegistrySession, running: Rollout) -> Version:
    """Raises GateError if it is another model than the one whose rollout began."""
    version = registry.version(running.version)
    if version.digest != running.digest:
        raise GateError(
            "is another model than the one whose rollout began",
            subject=f"{registry.name} version {version.number}",
            remedy="End the rollout: `ratchet rollout abort`",
        )
    return version


def _require_none(store: ModelRegistry, snapshot: Snapshot) -> None:
    if snapshot.rollout:
        raise RegistryError(
            f"version {snapshot.rollout.version} is being rolled out",
            subject=f"model {store.scope.namespace}",
            remedy="End that first: `ratchet rollout abort`, or `ratchet rollout advance` until it serves",
        )


def _running(store: ModelRegistry, snapshot: Snapshot) -> Rollout:
    if snapshot.rollout is None:
        raise RegistryError(
            "no version is being rolled out",
            subject=f"model {store.scope.namespace}",
            remedy="`ratchet rollout start VERSION` begins; `ratchet rollout status` shows the last one",
        )
    return snapshot.rollout


def _next(
    store: ModelRegistry, snapshot: Snapshot, running: Rollout, kind: Change, at_step: int, by: str, reason: str
) -> Rollout:
    update = {
        "number": _next_number(snapshot),
        "kind": kind,
        "at_step": at_step,
        "by": by,
        "reason": reason,
        "at": store.gate.clock.now(),
    }
    changed: Rollout = running.model_copy(update=update)
    return changed


def _next_number(snapshot: Snapshot) -> int:
    return max(snapshot.rollouts, default=0) + 1


def _write(registry: RegistrySession, change: Rollout) -> Rollout:
    """Sign and write a change. This single write is the change; everything else is derived from it."""
    signed = registry.store.gate.key.sign(change)
    registry.write(f"{ROLLOUTS}{change.number:06d}", signed)
    settle_rollout(registry)
    return signed
