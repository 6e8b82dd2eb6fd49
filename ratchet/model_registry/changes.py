"""Changes of a registered model since the last run, written to files: DVC sees files, but no aliases, versions or tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ratchet.core.errors import RegistryError
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.tags import CHAMPION, REQUESTED
from ratchet.storage.files import read_json, write_json


def write_requested(registry: RegistrySession) -> dict[str, int | str | None]:
    """Write and return the version that each alias and the history name, or None if that version serves already. `champion` is
    "deleted" if a version serves but the alias is gone."""
    served, aliases = _serving(registry.store).get("version"), registry.aliases()
    champion = aliases.get(CHAMPION, "deleted" if served else None)
    asked = {REQUESTED: aliases.get(REQUESTED), CHAMPION: champion, "history": _named_by_history(registry)}
    waiting = {name: version if version != served else None for name, version in asked.items()}
    write_json(registry.store.paths.requested_file, waiting)
    return waiting


def _named_by_history(registry: RegistrySession) -> int | str | None:
    """The version of the history's last entry. If the history is not valid, the reason: `reconcile` then runs and fails."""
    try:
        champion = registry.snapshot().champion
    except RegistryError as error:
        return error.problem
    return champion.version if champion else None


def write_missing(registry: RegistrySession) -> list[str]:
    """Write and return the digests of models that were registered or serve, but whose version, record or files the registry no
    longer holds."""
    known = set(registered_last(registry.store))
    held = {of.digest for of in registry.versions().values() if of.digest in known and registry.holds(of)}
    missing = sorted(known - held)
    write_json(registry.store.paths.missing_file, missing)
    return missing


def registered_last(store: ModelRegistry) -> Iterator[str]:
    """The digests of the models that the last `register` and the last `reconcile` reported."""
    path = store.paths.register_report
    for model in dict(read_json(path) if path.exists() else {}).values():
        if model["version"]:
            yield model["digest"]
    if digest := _serving(store).get("digest"):
        yield digest


def _serving(store: ModelRegistry) -> dict[str, Any]:
    """The last result of `reconcile`; empty if it never ran."""
    path = store.paths.serving_file
    return dict(read_json(path)) if path.exists() else {}
