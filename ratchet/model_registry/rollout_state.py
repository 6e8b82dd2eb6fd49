"""What follows from the running rollout: the alias `challenger`, statuses, and the file that the online service watches."""

from __future__ import annotations

from ratchet.gate.rollout import says
from ratchet.model_registry.holds import taken_back
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.tags import CANDIDATE, CHALLENGER, STATUS
from ratchet.storage.files import write_text

_STATUS = "challenger"
"""The beginning of the status of the version that is rolled out."""


def settle_rollout(registry: RegistrySession) -> None:
    """Make alias, statuses and file agree with the changes of rollouts. May be killed and repeated."""
    snapshot, versions = registry.snapshot(), registry.versions()
    running = snapshot.rollout
    challenger = versions.get(running.version) if running else None
    for number, version in versions.items():
        if running and challenger and number == challenger.number:
            registry.tag(version, STATUS, f"{_STATUS}: {says(running.step)}")
        elif version.tags.get(STATUS, "").startswith(_STATUS):
            ended = "served" if number in snapshot.served else taken_back(snapshot, number)
            registry.tag(version, STATUS, ended or CANDIDATE)
    registry.point(CHALLENGER, challenger.number if challenger else None, snapshot)
    content = running.model_dump_json(indent=2) if running else "null"
    write_text(registry.store.paths.rollout_file, content + "\n")
