"""The embedded model registry: MLflow's SQLite database and its artifacts, both in state/.

An absent database either never existed, or is away and may be put back. So readers never create one, registration creates
one only if nothing was ever registered, and a new database never replaces one that was put back in the meantime.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ratchet.core.errors import RegistryUnavailableError
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.storage import sqlite
from ratchet.storage.files import atomic, write_json

_ARTIFACTS = "mlartifacts"
_LOCATIONS = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("experiments", "artifact_location"),
)
"""Every column in which MLflow keeps the absolute address of an artifact."""


def file(store: ModelRegistry) -> Path:
    """MLflow's own database, or the SQLite file that RATCHET_TRACKING_URI names."""
    return sqlite.path_of(store.address) or store.paths.shared_state / "mlflow.db"


def is_a_file(store: ModelRegistry) -> bool:
    """Whether the registry is a SQLite file and not a server."""
    return not store.address or sqlite.path_of(store.address) is not None


def tracking_uri(store: ModelRegistry) -> str:
    """The address of the registry. The address of a file has its inode number, which SQLite ignores: MLflow keeps connections
    by address, and would otherwise read the old file after it was replaced."""
    if not is_a_file(store):
        return store.address
    return f"{sqlite.url(file(store))}&file={file(store).stat().st_ino}"


def artifacts(store: ModelRegistry) -> Path:
    """The folder with the artifacts of the embedded registry."""
    return store.paths.shared_state / _ARTIFACTS


def marker(store: ModelRegistry) -> Path:
    """The file that marks that models were registered from this checkout. If it exists, an absent database is an error."""
    return store.paths.shared_state / "registered.json"


def begin_without(store: ModelRegistry) -> str:
    """The remedy if the database is lost for good."""
    return f"to begin anew, delete {marker(store)}"


def exists(store: ModelRegistry) -> bool:
    """Whether the database exists. Raises RegistryUnavailableError if it was lost, or if its path is not a database."""
    path, anew = file(store), begin_without(store)
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        if not marker(store).exists():
            return False
        raise RegistryUnavailableError(
            "is gone, and models were registered from this checkout",
            subject=f"model registry {path}",
            remedy=f"Restore it, or correct RATCHET_TRACKING_URI if they are kept elsewhere; {anew}",
        ) from error
    if not size or not path.is_file():
        found = "empty file" if path.is_file() else "folder"
        raise RegistryUnavailableError(
            f"is no database (found: {found})",
            subject=f"model registry {path}",
            remedy=f"Restore it; {anew} and the {found}",
        )
    return True


def create(store: ModelRegistry) -> None:
    """Let MLflow create its tables in a temporary file: it cannot resume migrations that a kill or a full disk interrupted.

    A database that was put back in the meantime is kept.
    """
    from mlflow import MlflowClient

    with atomic(file(store), replace=False) as temporary:
        uri = sqlite.url(temporary, create=True)
        MlflowClient(uri, registry_uri=uri).search_registered_models(max_results=1)


def mark(store: ModelRegistry) -> None:
    """Write the marker file: from now on, models are registered from this checkout."""
    if not marker(store).exists():
        write_json(marker(store), {"since": store.gate.clock.now().isoformat()})


def follow_move(store: ModelRegistry) -> None:
    """Point MLflow to the artifacts in this checkout if its database still names the folder from which the checkout was moved
    or copied. Does nothing if the checkout has no artifacts of its own, or if other checkouts may use the database, too.

    Raises sqlite3.Error at once if the database cannot be opened: MLflow would retry for an hour.
    """
    here, end = artifacts(store).as_uri(), f"/{store.paths.shared_state.name}/{_ARTIFACTS}"
    with closing(sqlite.connect(file(store))) as connection:
        known = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        is_own = not store.address and artifacts(store).is_dir()
        for (there,) in known if is_own else ():
            if there and there.endswith(end) and there != here:
                with connection:
                    for table, column in _LOCATIONS:
                        connection.execute(_move(table, column), {"there": there, "here": here})


def _move(table: str, column: str) -> str:
    """SQL that replaces the prefix `:there` of an address by `:here`."""
    return (
        f"UPDATE {table} SET {column} = :here || substr({column}, length(:there) + 1) "
        f"WHERE {column} = :there OR substr({column}, 1, length(:there) + 1) = :there || '/'"
    )
