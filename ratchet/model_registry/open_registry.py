"""Open the registry for one process at a time, and translate its failures."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

from filelock import FileLock
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from ratchet.core.errors import RegistryUnavailableError
from ratchet.model_registry import embedded_database
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.session import RegistrySession

LOCK_SECONDS = 120


@contextmanager
def open_registry(store: ModelRegistry, room: Literal["promotion", "registration"]) -> Iterator[RegistrySession]:
    """The registry, under a lock of the checkout for promotion or registration. Only registration creates the embedded one.

    Raises RegistryUnavailableError if the registry does not answer, or if it was lost.
    """
    try:
        with _alone(store, room):
            yield RegistrySession(store, create=room == "registration")
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise RegistryUnavailableError(
            f"does not answer as it should ({' '.join(str(error).split())[:400]})",
            subject=f"model registry {store.address or embedded_database.file(store)}",
            remedy=_remedy(store, error),
        ) from error


def _alone(store: ModelRegistry, room: str) -> AbstractContextManager[object]:
    """The lock of this name. If state/ is absent, a reader needs no lock, and must not create a state/ that would be in the
    way when the lost one is put back."""
    folder = store.paths.shared_state
    if room == "registration" or store.address:
        folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{room}.lock", timeout=LOCK_SECONDS) if folder.is_dir() else nullcontext()


def _remedy(store: ModelRegistry, error: Exception) -> str:
    again = "and run the same command again: nothing is left half done"
    if store.address:
        return f"Start it, or fix RATCHET_TRACKING_URI, {again}"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"It is no complete database: restore it; {embedded_database.begin_without(store)} and the database"
    folder = embedded_database.file(store).parent
    return f"Check that {folder} has room and can be written, and that no other program holds the database, {again}"
