"""The embedded model registry: MLflow's SQLite database and its artifacts, both in state/.

A database that is absent either never was, or is away and may come back. So readers never make one, registration makes one
only where nothing was ever registered, and no new database takes the place of one that was put back meanwhile.
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
    """Whether the registry is a SQLite file, and no server."""
    return not store.address or sqlite.path_of(store.address) is not None


def tracking_uri(store: ModelRegistry) -> str:
    """The address of the registry; that of a file has the file's number, which SQLite ignores: MLflow keeps connections by
    address, and would go on reading a file of which another one has taken the place."""
    if not is_a_file(store):
        return store.address
    return f"{sqlite.url(file(store))}&file={file(store).stat().st_ino}"


def artifacts(store: ModelRegistry) -> Path:
    """Where the artifacts of embedded experiments are."""
    return store.paths.shared_state / _ARTIFACTS


def marker(store: ModelRegistry) -> Path:
    """The file that says that models were registered from this checkout: from then on an absent database is a loss."""
    return store.paths.shared_state / "registered.json"


def begin_without(store: ModelRegistry) -> str:
    """What to do where the database is lost for good."""
    return f"to begin anew, delete {marker(store)}"


def exists(store: ModelRegistry) -> bool:
    """Whether the database is there. Raises RegistryUnavailableError where it is gone, or what is there is no database."""
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
        what = "an empty file" if path.is_file() else "a folder"
        raise RegistryUnavailableError(
            f"is {what}, and no database", subject=f"model registry {path}", remedy=f"Restore it; {anew} and {what}"
        )
    return True


def create(store: ModelRegistry) -> None:
    """Let MLflow make its tables aside: it cannot go on where a killed process, or a full disk, broke its migrations off.

    A database that is there by then, because it was put back meanwhile, stays.
    """
    from mlflow import MlflowClient

    with atomic(file(store), replace=False) as temporary:
        uri = sqlite.url(temporary, create=True)
        MlflowClient(uri, registry_uri=uri).search_registered_models(max_results=1)


def mark(store: ModelRegistry) -> None:
    """Remember that models are registered from this checkout."""
    if not marker(store).exists():
        write_json(marker(store), {"since": store.gate.clock.now().isoformat()})


def follow_move(store: ModelRegistry) -> None:
    """Point MLflow to the artifacts in this checkout where its database still names the folder that the checkout was moved,
    or copied, from. Does nothing where the checkout has no artifacts of its own, or the database may be that of several.

    Raises sqlite3.Error at once where the database cannot be opened: MLflow would try for an hour.
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
    """SQL that replaces the beginning `:there` of an address by `:here`."""
    return (
        f"UPDATE {table} SET {column} = :here || substr({column}, length(:there) + 1) "
        f"WHERE {column} = :there OR substr({column}, 1, length(:there) + 1) = :there || '/'"
    )
