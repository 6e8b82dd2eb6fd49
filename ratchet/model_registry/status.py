"""What a person is shown of a registered model."""

from __future__ import annotations

from typing import Any

from ratchet.model_registry.opening import open_registry
from ratchet.model_registry.tags import COMMIT, DIRTY, EXPERIMENT, KIND, PREVIOUS, REQUESTED, STATUS, VERDICT
from ratchet.model_registry.version import Version
from ratchet.project.project import Project


def status(project: Project) -> dict[str, Any]:
    """What is asked for, what serves, what holds the policy back, every version and the promotion history."""
    with open_registry(project, "promotion") as registry:
        snapshot = registry.snapshot()
        versions = registry.versions().values()
    champion, hold = snapshot.champion, snapshot.hold
    return {
        "requested": snapshot.aliases.get(REQUESTED),
        "champion": champion and champion.version,
        "previous": snapshot.aliases.get(PREVIOUS),
        "hold": hold and {"by": hold.by, "reason": hold.reason, "at": hold.at.isoformat()},
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
        "experiment": tags.get(EXPERIMENT) or None,
        "status": tags.get(STATUS),
    }
