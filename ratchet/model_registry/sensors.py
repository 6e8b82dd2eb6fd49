"""The sensors: at the beginning of every run they check the model registry for DVC, which only sees files.

Importing MLflow takes longer than everything else in a run with nothing to do. So the states of the embedded registry's files
are compared first: while they are unchanged, the last result of the sensors is still right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ratchet
from ratchet.model_registry import embedded_database
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.storage.digests import digest
from ratchet.storage.file_states import FileState, file_states, settled
from ratchet.storage.files import read_json, write_json


def sense(stores: Sequence[ModelRegistry]) -> dict[str, Any]:
    """Check every registered model. Returns its open requests and lost models, by the model's name."""
    memory = stores[0].paths.shared_state / "sensed.json"
    states = _file_states(stores)
    last = dict(read_json(memory)) if states and memory.exists() else {}
    if states and last.get("seen") == _seen(states, stores):
        return dict(last["found"])
    found = _sense(stores)
    if states:
        write_json(memory, {"seen": _seen(states, stores), "found": found})
    return found


def _sense(stores: Sequence[ModelRegistry]) -> dict[str, Any]:
    from ratchet.model_registry.changes import write_missing, write_requested
    from ratchet.model_registry.open_registry import open_registry

    found = {}
    for store in stores:
        with open_registry(store, "promotion") as registry:
            found[store.scope.namespace] = {**write_requested(registry), "missing": write_missing(registry)}
    return found


def _file_states(stores: Sequence[ModelRegistry]) -> list[FileState]:
    """The state of every file that the result depends on. Empty if files do not show every change: the registry is on a
    server, or a file changed just now."""
    if stores[0].address or stores[0].artifact_location:
        return []
    states = file_states(_read(stores))
    return states if settled(states) else []


def _read(stores: Sequence[ModelRegistry]) -> Iterator[Path]:
    """The files that the sensors depend on: their code, the registry, the key, and the last reports of the steps."""
    yield from Path(ratchet.__file__).parent.rglob("*.py")
    database, key = embedded_database.file(stores[0]), stores[0].gate.key.path
    yield from (database, database.with_name(f"{database.name}-wal"), embedded_database.marker(stores[0]))
    yield from (key, key.with_suffix(".pub"))
    for folder in (embedded_database.artifacts(stores[0]), *(store.paths.state / "models" for store in stores)):
        yield from folder.rglob("*")
    for store in stores:
        yield from (store.paths.serving_file, store.paths.register_report)


def _seen(states: Sequence[FileState], stores: Sequence[ModelRegistry]) -> str:
    """A digest that changes with the files that the sensors depend on, and with the files that they wrote."""
    written = [path for store in stores for path in (store.paths.requested_file, store.paths.missing_file)]
    return digest(states, [path.read_text(encoding="utf-8") if path.exists() else None for path in written])
