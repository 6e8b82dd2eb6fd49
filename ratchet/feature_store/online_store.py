"""The online store: what Ratchet asks of one beyond what Feast does, and which there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ratchet.feature_store.online_sqlite import SqliteOnlineStore

if TYPE_CHECKING:
    import feast

    from ratchet.core.environment import Environment


class OnlineStore(Protocol):
    """A store that Feast writes and reads."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What its client raises where it does not do what it is asked."""

    @property
    def remedy(self) -> str:
        """What a person does where it cannot be opened or written."""

    def settings(self) -> dict[str, Any]:
        """The section `online_store` of Feast's settings."""

    def exists(self) -> bool:
        """Whether it is there: what it held may be read."""

    def create(self) -> None:
        """Make it where it is absent, so that readers go on while it is written. Raises one of `errors`."""

    def attach(self, store: feast.FeatureStore) -> None:
        """Let Feast read the one that is there: Feast would make one that is not, in which every feature is absent.

        Raises StoreUnavailableError where there is none, or one of `errors`.
        """


class _Make(Protocol):
    def __call__(self, folder: Path) -> OnlineStore: ...


ONLINE_STORES: Mapping[str, _Make] = {"sqlite": SqliteOnlineStore}
"""RATCHET_ONLINE_STORE → the store of a use case and source, whose state lies in `folder`."""


def online_store(environment: Environment, folder: Path) -> OnlineStore:
    """The store that the environment selects."""
    return ONLINE_STORES[environment.online_store](folder)
