"""The sensors: they look at the model registry for DVC, which sees files alone, before anything else in every run.

Importing MLflow takes longer than all the rest of a run with nothing to do. So the files that the embedded registry is made
of are looked at first: while they stay as they are, so does what the sensors found.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import ratchet
from ratchet.model_registry import embedded
from ratchet.project.project import Project
from ratchet.project.step_reports import Report
from ratchet.storage.digests import digest
from ratchet.storage.files import read_json, write_json

FileState = tuple[str, int, int, int]
"""Path, inode number, size in bytes, and time of the last change in nanoseconds."""
_TICK = 1_000_000_000  # nanoseconds; within a tick of the file system's clock a file can change and keep its time


def sense(projects: Sequence[Project]) -> Report:
    """Look at every project's registered model; what is open or lost, by the model's name."""
    memory = projects[0].paths.shared_state / "sensed.json"
    states = _file_states(projects)
    last = dict(read_json(memory)) if states and memory.exists() else {}
    if states and last.get("seen") == _seen(states, projects):
        return dict(last["found"])
    found = _sense(projects)
    if states:
        write_json(memory, {"seen": _seen(states, projects), "found": found})
    return found


def _sense(projects: Sequence[Project]) -> Report:
    from ratchet.model_registry.opening import open_registry
    from ratchet.model_registry.sensor_files import write_missing, write_requested

    found = {}
    for project in projects:
        with open_registry(project, "promotion") as registry:
            found[project.scope.namespace] = {**write_requested(registry), "missing": write_missing(registry)}
    return found


def _file_states(projects: Sequence[Project]) -> list[FileState]:
    """The state of every file that decides what is found. Empty where files do not tell: the registry or the key is kept
    elsewhere, or a file changed just now."""
    environment, now = projects[0].environment, time.time_ns()
    if environment.tracking_uri or environment.artifact_location or environment.signing_key:
        return []
    states = [_state(path) for path in sorted(set(_read(projects))) if path.is_file()]
    return states if all(changed < now - _TICK for *_, changed in states) else []


def _read(projects: Sequence[Project]) -> Iterator[Path]:
    """What the sensors read: the code that does it, the registry, the key, and what each project last did with them."""
    yield from Path(ratchet.__file__).parent.rglob("*.py")
    shared, database = projects[0].paths.shared_state, embedded.database(projects[0])
    yield from (database, database.with_name(f"{database.name}-wal"), embedded.marker(projects[0]))
    folders = [
        embedded.artifacts(projects[0]),
        shared / "keys",
        *(project.paths.state / "models" for project in projects),
    ]
    for folder in folders:
        yield from folder.rglob("*")
    for project in projects:
        yield from (project.paths.serving_file, project.paths.reports / "register.json")


def _state(path: Path) -> FileState:
    found = path.stat()
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns


def _seen(states: Sequence[FileState], projects: Sequence[Project]) -> str:
    """Changes with what the sensors read, and with what they wrote."""
    written = [path for project in projects for path in (project.paths.requested_file, project.paths.missing_file)]
    return digest(states, [path.read_text(encoding="utf-8") if path.exists() else None for path in written])
