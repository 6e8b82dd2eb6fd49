"""Promotion: people request a version by the alias `requested`, and `champion` is the version that the gate admitted.

A promotion is one signed entry in the history. Aliases, tags and the file that DVC watches are derived from the history, so
the next `reconcile` completes what a killed process left undone. `champion` moves just before the entry is written, after the
version was verified, so that it never names a refused model. `previous` moves last, so that a killed rollback can be requested
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ratchet.core.errors import GateError, RegistryError
from ratchet.gate.record import Waiver
from ratchet.gate.refit import Record, RefitRecord
from ratchet.model_registry.admission import examine, load_servable
from ratchet.model_registry.champion import existing_version, judged_version, last_promotion
from ratchet.model_registry.changes import write_requested
from ratchet.model_registry.holds import held, released
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.promotion_history import Entry, PromotionRequest, Snapshot, kind_of, previous
from ratchet.model_registry.rollout_state import settle_rollout
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.tags import CHAMPION, PREVIOUS, REQUESTED, STATUS
from ratchet.model_registry.version import Version
from ratchet.model_registry.waivers import require_author, sign_waiver
from ratchet.storage.files import write_json

if TYPE_CHECKING:
    from ratchet.models.contract import Contract

POLICY = "policy"
WAITS = "waits for a person"
"""The beginning of the status of a version that the policy does not promote because of how it was made."""


def reconcile(store: ModelRegistry) -> dict[str, Any]:
    """Verify the requested version, then let it serve or write the refusal on it. Also completes an interrupted promotion."""
    with open_registry(store, "promotion") as registry:
        return _reconcile(registry)


def promote(
    store: ModelRegistry, version: int, *, by: str, reason: str | None = None, until: datetime | None = None
) -> dict[str, Any]:
    """Request a version for a person. `until` makes `reason` a waiver, under which a non-inferior version may serve.

    Raises GateError if the request is refused.
    """
    with open_registry(store, "promotion") as registry:
        requested = registry.version(version)
        if until is not None:
            sign_waiver(registry, requested, by, reason, until)
        registry.request(version, by, reason or "none given")
        report = _reconcile(registry)
    if report["refused"]:
        still = "What served before still serves. " if report["champion"] else ""
        raise GateError(
            f"refused: {report['refused']['reason']}",
            subject=f"{store.scope.namespace} version {report['refused']['version']}",
            remedy=still + report["refused"]["remedy"],
        )
    return report


def promote_by_policy(store: ModelRegistry, version: int, contract: Contract, record: Record) -> dict[str, Any]:
    """Request a superior version, or the refit of one, for the policy. If only a person may request it, write on it why."""
    with open_registry(store, "promotion") as registry:
        if may_ask(registry, version, contract, record):
            registry.request(version, POLICY, grounds(record), by_policy=True)
        return _reconcile(registry)


def may_ask(registry: RegistrySession, version: int, contract: Contract, record: Record) -> bool:
    """Whether the policy may ask for a version. If only a person may, write on it why."""
    obstacle = held(registry.snapshot(), version) or _uncommitted(registry.store, version, contract, record)
    if obstacle is not None:
        registry.tag(registry.version(version), STATUS, obstacle)
    return obstacle is None


def grounds(record: Record) -> str:
    """Why the policy asks for a version."""
    return "superior by its gate record" + (", and refitted" if isinstance(record, RefitRecord) else "")


def _uncommitted(store: ModelRegistry, version: int, contract: Contract, record: Record) -> str | None:
    """The status of a version that nobody could make again from a commit, or that an experiment made; None for any other."""
    experiment = contract.experiment or record.experiment
    if not (experiment or contract.dirty or record.dirty):
        return None
    made_by = f"the experiment {experiment}" if experiment else "uncommitted code or settings"
    return (
        f"{WAITS}: made by {made_by}. Commit and run `dvc repro --force --downstream train@{store.scope.use_case}`, or ask for "
        f"it by name: `ratchet promote {version}`"
    )


def rollback(store: ModelRegistry, *, by: str, reason: str) -> dict[str, Any]:
    """Return to the version that served before, and hold it. Raises RegistryError if there is none, or `by` or `reason` is
    empty. Raises GateError, without requesting anything, if this code cannot serve that version."""
    require_author(store, by, reason)
    with open_registry(store, "promotion") as registry:
        snapshot = registry.snapshot()
        champion, target = last_promotion(registry, snapshot), _way_back(registry)
        if target not in (None, champion.version):
            load_servable(registry, snapshot, registry.version(target))
    if target is None:
        raise RegistryError(
            f"there is no version to return to: version {champion.version} is the first that served, or the one before it "
            "has been deleted",
            subject=f"model {store.scope.namespace}",
            remedy="Ask for another version that `ratchet status` lists: `ratchet promote VERSION`. If it lists no other, "
            f"only a better model can replace it: change the features or settings, and run `dvc repro "
            f"monitor@{store.scope.use_case}`",
        )
    return promote(store, target, by=by, reason=reason)


def _way_back(registry: RegistrySession) -> int | None:
    """The version that a rollback leads to, from the signed history. The alias only shows an unfinished rollback."""
    snapshot = registry.snapshot()
    champion = snapshot.champion
    if champion is None:
        return None
    is_unfinished = snapshot.aliases.get(PREVIOUS) == champion.version
    target = champion.version if is_unfinished else champion.previous
    return target if target in registry.versions() else None


def release(store: ModelRegistry, *, by: str, reason: str) -> dict[str, Any]:
    """End the hold of a rollback: the policy promotes again. Raises RegistryError if there is no hold, or `by` or `reason` is
    empty."""
    require_author(store, by, reason)
    with open_registry(store, "promotion") as registry:
        snapshot = registry.snapshot()
        hold = snapshot.hold
        if hold is None:
            raise RegistryError(
                "no rollback holds the policy back",
                subject=f"model {store.scope.namespace}",
                remedy="There is nothing to release: `ratchet status` shows what was promoted last",
            )
        entry = hold.model_copy(
            update={
                "number": hold.number + 1,
                "kind": "release",
                "by": by,
                "reason": reason,
                "waiver": None,
                "at": store.gate.clock.now(),
            }
        )
        _append(registry, store.gate.key.sign(entry))
        return _reconcile(registry)


def _reconcile(registry: RegistrySession) -> dict[str, Any]:
    _take_a_moved_champion_as_request(registry)
    refused = _consider(registry)
    try:
        return {"champion": _settle(registry, refused), "refused": refused}
    except RegistryError as error:
        if refused is None:
            raise
        raise _with_refusal(error, refused) from error


def _with_refusal(error: RegistryError, refused: Mapping[str, Any]) -> RegistryError:
    """The error about the version that serves, together with the reason why the requested one does not replace it."""
    asked = f"Version {refused['version']}, which is requested, is refused: {refused['reason']}. {refused['remedy']}"
    return type(error)(error.problem, subject=error.subject, remedy=f"{asked.rstrip('.')}. {error.remedy}")


def _take_a_moved_champion_as_request(registry: RegistrySession) -> None:
    """Treat a `champion` that was moved by hand as a request. `_settle` moves the alias back if the request is refused."""
    snapshot = registry.snapshot()
    moved_to = snapshot.aliases.get(CHAMPION)
    if moved_to is not None and moved_to != (snapshot.champion and snapshot.champion.version):
        registry.point(REQUESTED, moved_to, snapshot)


def _consider(registry: RegistrySession) -> dict[str, Any] | None:
    """Promote the requested version, if any. Returns the refusal if it may not serve, otherwise None."""
    snapshot = registry.snapshot()
    requested = snapshot.aliases.get(REQUESTED)
    if requested is None or (snapshot.champion and requested == snapshot.champion.version):
        return None
    version = registry.version(requested)
    try:
        waiver = examine(registry, snapshot, version)
    except GateError as error:
        return {"version": requested, "reason": error.problem, "remedy": error.remedy}
    registry.point(CHAMPION, requested, snapshot)
    request = snapshot.request_for(version.number)
    if judged := _judged_first(registry, snapshot, version):
        by_its_refit = request and request.model_copy(
            update={"reason": f"version {requested}, its refit, is requested: {request.reason}"}
        )
        _append(registry, _entry(registry.store, snapshot, judged, None, by_its_refit))
    _append(registry, _entry(registry.store, registry.snapshot(), version, waiver, request))
    return None


def _judged_first(registry: RegistrySession, snapshot: Snapshot, version: Version) -> Version | None:
    """The judged model of a refit, if that is to serve for the first time and its judged model does not serve: that is promoted
    first, so that a rollback leads from the refit to the model that was judged."""
    record = registry.record(version)
    if version.number in snapshot.served or not isinstance(record, RefitRecord):
        return None
    judged = judged_version(registry, record)
    return None if snapshot.champion and snapshot.champion.digest == judged.digest else judged


def _entry(
    store: ModelRegistry, snapshot: Snapshot, version: Version, waiver: Waiver | None, request: PromotionRequest | None
) -> Entry:
    """The next entry of the history. A request that was not made through `ratchet` is attributed to MLflow."""
    entries = snapshot.history
    entry = Entry(
        model_name=store.scope.namespace,
        number=len(entries) + 1,
        kind=kind_of(entries, version.number, by_policy=bool(request and request.by_policy)),
        version=version.number,
        previous=previous(entries, version.number),
        digest=version.digest,
        by=request.by if request else "MLflow",
        reason=request.reason if request else "an alias was moved",
        waiver=waiver,
        at=store.gate.clock.now(),
    )
    return store.gate.key.sign(entry)


def _append(registry: RegistrySession, entry: Entry) -> None:
    """Add an entry to the history. This single write promotes; everything else is derived from the history."""
    registry.write(entry.tag, entry)


def _settle(registry: RegistrySession, refused: dict[str, Any] | None) -> dict[str, Any] | None:
    """Make status tags, aliases and the serving file agree with the history. Returns the champion, if there is one."""
    snapshot = registry.snapshot()
    champion, versions = snapshot.champion, registry.versions()
    for number, text in {**released(snapshot, versions), **_statuses(snapshot, refused)}.items():
        if number in versions:
            registry.tag(versions[number], STATUS, text)
    if champion:
        registry.complete(existing_version(registry, snapshot, champion))
    registry.point(CHAMPION, champion.version if champion else None, snapshot)
    _write_serving_file(registry.store, champion)
    write_requested(registry)
    settle_rollout(registry)
    registry.point(PREVIOUS, champion.previous if champion and champion.previous in versions else None, snapshot)
    if champion is None:
        return None
    return {"version": champion.version, "digest": champion.digest, "previous": champion.previous}


def _statuses(snapshot: Snapshot, refused: dict[str, Any] | None) -> dict[int, str]:
    statuses = dict.fromkeys(snapshot.served, "served")
    if snapshot.champion:
        statuses[snapshot.champion.version] = "serving"
    if refused:
        statuses[refused["version"]] = f"refused: {refused['reason']}"
    return statuses


def _write_serving_file(store: ModelRegistry, champion: Entry | None) -> None:
    """Write the file that the scoring stage depends on. It is written, with nulls, even if nothing serves."""
    content = {"version": champion and champion.version, "digest": champion and champion.digest}
    write_json(store.paths.serving_file, {**content, "model": store.scope.namespace})
