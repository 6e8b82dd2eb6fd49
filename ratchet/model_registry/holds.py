"""Holds: what keeps the policy from promoting a version: a rollback, a rollout, or that the version was taken back."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet.model_registry.promotion_history import Snapshot
from ratchet.model_registry.tags import CANDIDATE, STATUS
from ratchet.model_registry.version import Version

HELD = "waits for a release", "waits for the end of a rollout"
"""The beginnings of the status of a version that waits for the end of a hold."""
TAKEN_BACK = "was taken back"
"""The beginning of the status of a version whose rollout was ended."""


def held(snapshot: Snapshot, version: int) -> str | None:
    """The status of a version that the policy does not promote because of a hold; None if there is none."""
    hold, rollout = snapshot.hold, snapshot.rollout
    if hold:
        return (
            f"{HELD[0]}: {hold.by} rolled back to version {hold.version} ({hold.reason}). `ratchet promote {version}` ends "
            "that hold and asks for this version, `ratchet release` ends it for later ones"
        )
    if rollout:
        return (
            f"{HELD[1]}: {rollout.by} rolls out version {rollout.version} ({rollout.reason}). `ratchet promote {version}` ends "
            "that and asks for this version, `ratchet rollout abort` ends it for later ones"
        )
    return taken_back(snapshot, version)


def taken_back(snapshot: Snapshot, version: int) -> str | None:
    """The status of a version that was taken back, until a person promotes it or rolls it out again; None for any other."""
    changes = [change for change in snapshot.rollouts.values() if change and change.version == version]
    if not changes or changes[-1].kind != "abort" or version in snapshot.served:
        return None
    last = changes[-1]
    return (
        f"{TAKEN_BACK} by {last.by}: {last.reason}. A person may ask for it again: `ratchet rollout start {version}`, or "
        f"`ratchet promote {version}`"
    )


def released(snapshot: Snapshot, versions: Mapping[int, Version]) -> dict[int, str]:
    """Version → new status, for the versions that waited for a hold that has ended."""
    waiting = [number for number, version in versions.items() if version.tags.get(STATUS, "").startswith(HELD)]
    return {number: CANDIDATE for number in waiting if held(snapshot, number) is None}
