"""The port of online stores (what Ratchet needs in addition to Feast's interface), and the table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ratchet.feature_store.online_redis import RedisOnlineStore
from ratchet.feature_store.online_sqlite import SqliteOnlineStore
from ratchet.feature_store.stored_rows import RowReader, StoredView

if TYPE_CHECKING:
    import feast
    import pyarrow as pa

    from ratchet.core.environment import Environment
    from ratchet.core.scope import Scope


class OnlineStore(Protocol):
    """An online store that Feast writes and reads."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that its client raises when it fails."""

    @property
    def remedy(self) -> str:
        """The remedy if it cannot be opened or written."""

    def settings(self) -> dict[str, Any]:
        """The section `online_store` of Feast's settings."""

    def mark(self) -> str | None:
        """The mark that it was given last; empty if it never was, or if the store is damaged; None if there is none.

        Raises one of `errors`.
        """

    def set_mark(self, mark: str) -> None:
        """Mark the existing store, to be known again: a store that was put back, or lost its last writes, has another mark.

        Raises one of `errors`.
        """

    def create(self) -> None:
        """Create the store if it is absent or damaged. Readers must not be blocked while it is written.

        Raises one of `errors`.
        """

    def clear(self) -> None:
        """Delete the rows of all views, and the mark. Raises one of `errors`."""

    def delete(self, store: feast.FeatureStore, view: str, keys: pa.Table) -> None:
        """Delete everything about some keys of a registered view. Raises one of `errors`."""

    def reader(self, views: Sequence[StoredView]) -> RowReader:
        """What reads rows of these views without Feast. It connects at the first read."""

    def attach(self, store: feast.FeatureStore) -> None:
        """Let Feast read the existing store. Feast itself would create an absent one, in which every feature is missing.

        Raises StoreUnavailableError if there is none, or one of `errors`.
        """


class _Make(Protocol):
    def __call__(self, environment: Environment, folder: Path, project: str) -> OnlineStore: ...


def feast_project(scope: Scope) -> str:
    """The name of a scope's Feast project."""
    return scope.namespace.replace("-", "_")


ONLINE_STORES: Mapping[str, _Make] = {
    "sqlite": lambda _environment, folder, project: SqliteOnlineStore(folder, project),
    "redis": lambda environment, _folder, project: RedisOnlineStore(environment.redis, project),
}
"""RATCHET_ONLINE_STORE → a function that makes the store of a Feast project, whose state lies in `folder`."""


def online_store(environment: Environment, folder: Path, project: str) -> OnlineStore:
    """The store that the environment selects. Raises SettingsError if its library is not installed."""
    return ONLINE_STORES[environment.online_store](environment, folder, project)
