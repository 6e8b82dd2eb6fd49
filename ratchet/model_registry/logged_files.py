"""The folder in which MLflow keeps a version's model, in MLflow's own format, and whether it is complete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mlflow.utils.file_utils import local_file_uri_to_path

from ratchet.core.errors import RegistryUnavailableError
from ratchet.gate.signing import begin_anew
from ratchet.model_registry import embedded_database
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.tags import LOGGED
from ratchet.model_registry.version import Version


def logged_tag(folder: Path) -> dict[str, str]:
    """The tag with the files that were logged: file name → SHA-256, as JSON."""
    return {LOGGED: json.dumps(_digests(folder), sort_keys=True)}


def is_whole(version: Version, tracking_uri: str) -> bool:
    """Whether every file that was logged is there. If the folder is on this machine, the contents are compared, too."""
    logged = _parse(version.tags.get(LOGGED, ""))
    if version.source.startswith("file:"):
        there = _digests(Path(local_file_uri_to_path(version.source)))
        return bool(logged) and logged.items() <= there.items()
    return bool(logged) and logged.keys() <= _listed(version.source, tracking_uri)


def require_artifacts(store: ModelRegistry, location: str, subject: str) -> None:
    """Raises RegistryUnavailableError if the folder at this address should be on this machine, but is absent."""
    if not location.startswith("file:"):
        return
    folder = Path(local_file_uri_to_path(location))
    try:
        folder.stat()
    except FileNotFoundError as error:
        raise RegistryUnavailableError(
            f"its artifacts are looked for in {folder}, which is not there",
            subject=subject,
            remedy=f"Put it back at {embedded_database.artifacts(store)}; if it is lost for good, {begin_anew(store.scope)}",
        ) from error


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _listed(source: str, tracking_uri: str) -> set[str]:
    from mlflow.artifacts import list_artifacts

    return {Path(file.path).name for file in list_artifacts(artifact_uri=source, tracking_uri=tracking_uri) or ()}


def _parse(text: str) -> dict[str, str]:
    """The content of the tag; empty if the tag is absent or is not valid."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
