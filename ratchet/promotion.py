"""Wish and fact: `champion` is the version that people ask for, `serving` the one that the gate let through.

A promotion is one signed entry in the history. Aliases, tags and the file that DVC watches follow from the history, so
whatever a killed process left undone, the next `reconcile` does. `previous` moves last, so that a rollback that was killed
can be asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.errors import GateError, RegistryError
from ratchet.gate_record import GateRecord, Waiver, admit
from ratchet.history import Entry, Snapshot, previous
from ratchet.project import Project
from ratchet.registry import (
    CHAMPION,
    COMMIT,
    DIRTY,
    KIND,
    PREVIOUS,
    SERVING,
    STATUS,
    VERDICT,
    WAIVER,
    Registry,
    Version,
    opened,
)
from ratchet.reports import Report
from ratchet.signing import sign
from ratchet.tables import write_json

if TYPE_CHECKING:
    from ratchet.model import Model


@dataclass(frozen=True)
class Champion:
    """The model that serves, with the evidence that let it through."""

    version: int
    model: Model
    record: GateRecord
    directory: Path


def resolve_champion(project: Project) -> Champion:
    """The only way to a model. Raises RegistryError unless the last promotion is what serves, and still what it was."""
    with opened(project, "promotion") as registry:
        snapshot = registry.snapshot()
        version = registry.version(_fact(registry, snapshot).version)
        try:
            champion = _load(registry, version)
            _verify_return(registry, snapshot, version)
        except GateError as error:
            raise RegistryError(
                error.problem,
                subject=f"{registry.name} version {version.number}, which serves",
                remedy="Run `ratchet rollback`, or promote another version",
            ) from error
        return champion


def write_wishes(projects: Sequence[Project]) -> dict[str, int | None]:
    """Write, where DVC looks, which version of each model is wished for and does not serve: it sees files, not aliases."""
    wishes = {}
    for project in projects:
        with opened(project, "promotion") as registry:
            wishes[project.namespace] = _write_wish(registry)
    return wishes


def serving_version(project: Project) -> int | None:
    """Which version serves, unverified: a cheap question, to be asked often. None where nothing does."""
    with opened(project, "promotion") as registry:
        return registry.aliases().get(SERVING)


def reconcile(project: Project) -> Report:
    """Verify the wish, then let it serve or write the refusal on its version. Mends whatever was left half done."""
    with opened(project, "promotion") as registry:
        return _reconcile(registry)


def propose(project: Project, version: int, *, by: str, reason: str | None, until: datetime | None = None) -> Report:
    """Wish for a version, and reconcile. `until` makes `reason` a waiver, under which a non-inferior version may serve."""
    with opened(project, "promotion") as registry:
        wished = registry.version(version)
        if until is not None:
            registry.tag(wished, WAIVER, _waiver(project, wished, by, reason, until).model_dump_json())
        registry.wish(version, by, reason or "none given")
        return _reconcile(registry)


def promote(
    project: Project, version: int, *, by: str, reason: str | None = None, until: datetime | None = None
) -> Report:
    """`propose`, for a person: raises GateError where the wish is refused."""
    report = propose(project, version, by=by, reason=reason, until=until)
    if report["refused"]:
        raise GateError(
            f"refused: {report['refused']['reason']}",
            subject=f"{project.namespace} version {report['refused']['version']}",
            remedy=f"What served before still serves. {report['refused']['remedy']}",
        )
    return report


def _waiver(project: Project, version: Version, by: str, reason: str | None, until: datetime) -> Waiver:
    if not (by and reason):
        raise GateError(
            "an end date waives nothing without a name and a reason",
            subject=f"{project.namespace} version {version.number}",
            remedy="Give both",
        )
    waiver = Waiver(model_name=project.namespace, candidate=version.digest, by=by, reason=reason, expires=until)
    return sign(waiver, project)


def rollback(project: Project, *, by: str, reason: str) -> Report:
    """Return to the version that served before. Raises RegistryError where there is none."""
    with opened(project, "promotion") as registry:
        target = _way_back(registry)
    if target is None:
        raise RegistryError(
            "there is no version to return to",
            subject=f"model {project.namespace}",
            remedy="`ratchet status` lists what has served; `ratchet promote VERSION` asks for one by name",
        )
    return promote(project, target, by=by, reason=reason)


def _way_back(registry: Registry) -> int | None:
    """Where the signed history leads; the alias, which anybody may move, only tells of a rollback that was broken off."""
    snapshot = registry.snapshot()
    if snapshot.fact is None:
        return None
    is_broken_off = snapshot.aliases.get(PREVIOUS) == snapshot.fact.version
    target = snapshot.fact.version if is_broken_off else snapshot.fact.previous
    return target if target in registry.versions() else None


def status(project: Project) -> dict[str, Any]:
    """Wish, fact, every version and the promotion history."""
    with opened(project, "promotion") as registry:
        snapshot = registry.snapshot()
        versions = registry.versions().values()
    return {
        "wish": snapshot.aliases.get(CHAMPION),
        "serving": snapshot.aliases.get(SERVING),
        "previous": snapshot.aliases.get(PREVIOUS),
        "versions": [_line(version) for version in versions],
        "history": [entry.model_dump(mode="json", exclude={"signature", "model_name"}) for entry in snapshot.history],
    }


def _line(version: Version) -> dict[str, Any]:
    tags = version.tags
    return {
        "version": version.number,
        "kind": tags.get(KIND),
        "digest": version.digest[:12],
        "verdict": tags.get(VERDICT),
        "commit": tags.get(COMMIT),
        "dirty": tags.get(DIRTY) == "true",
        "status": tags.get(STATUS),
    }


def _fact(registry: Registry, snapshot: Snapshot) -> Entry:
    """What serves by history and alias alike."""
    fact, serving = snapshot.fact, snapshot.aliases.get(SERVING)
    if fact is None:
        raise RegistryError(
            "no model has been promoted yet",
            subject=f"model {registry.name}",
            remedy="Run `dvc repro`, then `ratchet status`",
        )
    if serving != fact.version:
        raise RegistryError(
            f"the alias `serving` is at version {serving}, but version {fact.version} was promoted last",
            subject=f"model {registry.name}",
            remedy="Run `ratchet stage reconcile`; to ask for a version, move `champion`",
        )
    return fact


def _reconcile(registry: Registry) -> Report:
    refused = _consider(registry)
    return {"serving": _settle(registry, refused), "refused": refused}


def _consider(registry: Registry) -> dict[str, Any] | None:
    """Promote what is wished for, or say why not."""
    snapshot = registry.snapshot()
    wished = snapshot.aliases.get(CHAMPION)
    if wished is None or (snapshot.fact and wished == snapshot.fact.version):
        return None
    version = registry.version(wished)
    try:
        waiver = _examine(registry, snapshot, version)
    except GateError as error:
        return {"version": wished, "reason": error.problem, "remedy": error.remedy}
    registry.append(_entry(registry.project, snapshot, version, waiver))
    return None


def _examine(registry: Registry, snapshot: Snapshot, version: Version) -> Waiver | None:
    """The waiver that it takes for the version to serve, if it takes one.

    Raises GateError unless it may: one that has served may return, any other must win its place.
    """
    record = _load(registry, version).record
    if version.number in snapshot.served:
        _verify_return(registry, snapshot, version)
        return None
    serving = snapshot.fact.digest if snapshot.fact else None
    return admit(record, version.digest, serving, registry.waiver(version), registry.project)


def _load(registry: Registry, version: Version) -> Champion:
    """A version's model and the verified record that it was loaded by. Raises GateError."""
    if not version.digest:
        raise registry.refusal(version, "was not registered through the gate")
    record = registry.record(version)
    model, directory = registry.model(version, record)
    return Champion(version.number, model, record, directory)


def _verify_return(registry: Registry, snapshot: Snapshot, version: Version) -> None:
    if snapshot.served[version.number] != version.digest:
        raise registry.refusal(version, "was another model when it served")


def _entry(project: Project, snapshot: Snapshot, version: Version, waiver: Waiver | None) -> Entry:
    """The next entry; a wish that nobody spoke through `ratchet` came from MLflow itself."""
    entries, wish = snapshot.history, snapshot.wish
    spoken = wish is not None and (wish.version, wish.after) == (version.number, len(entries))
    entry = Entry(
        model_name=project.namespace,
        number=len(entries) + 1,
        version=version.number,
        previous=previous(entries, version.number),
        digest=version.digest,
        by=wish.by if wish and spoken else "MLflow",
        reason=wish.reason if wish and spoken else "the alias champion was moved",
        waiver=waiver,
        at=project.clock.now(),
    )
    return sign(entry, project)


def _settle(registry: Registry, refused: dict[str, Any] | None) -> dict[str, Any] | None:
    """Make status tags, aliases and the serving file say what the history says."""
    snapshot = registry.snapshot()
    fact, versions = snapshot.fact, registry.versions()
    for number, text in _statuses(snapshot, refused).items():
        if number in versions:
            registry.tag(versions[number], STATUS, text)
    if fact and fact.version not in versions:
        raise RegistryError(
            f"version {fact.version}, which was promoted last, has been deleted",
            subject=f"model {registry.name}",
            remedy="Run `ratchet rollback`, or promote another version",
        )
    registry.point(SERVING, fact.version if fact else None, snapshot)
    _write_serving_file(registry.project, fact)
    _write_wish(registry)
    registry.point(PREVIOUS, fact.previous if fact and fact.previous in versions else None, snapshot)
    return {"version": fact.version, "digest": fact.digest, "previous": fact.previous} if fact else None


def _statuses(snapshot: Snapshot, refused: dict[str, Any] | None) -> dict[int, str]:
    statuses = dict.fromkeys(snapshot.served, "served")
    if snapshot.fact:
        statuses[snapshot.fact.version] = "serving"
    if refused:
        statuses[refused["version"]] = f"refused: {refused['reason']}"
    return statuses


def _write_wish(registry: Registry) -> int | None:
    aliases = registry.aliases()
    open_wish = aliases.get(CHAMPION) if aliases.get(CHAMPION) != aliases.get(SERVING) else None
    write_json(registry.project.wish_file, {"version": open_wish})
    return open_wish


def _write_serving_file(project: Project, fact: Entry | None) -> None:
    """What the scoring stage depends on; it is there, with nothing in it, even where nothing serves."""
    content = {"version": fact and fact.version, "digest": fact and fact.digest, "model": project.namespace}
    write_json(project.serving_file, content)
