"""Who asks for a change of what serves, and why; and the waivers that people sign."""

from __future__ import annotations

from datetime import datetime

from ratchet.core.errors import GateError, RegistryError
from ratchet.gate.record import Waiver
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.session import RegistrySession
from ratchet.model_registry.tags import WAIVER
from ratchet.model_registry.version import Version


def require_author(store: ModelRegistry, by: str, reason: str) -> None:
    """Raises RegistryError unless both say something."""
    if not (by.strip() and reason.strip()):
        raise RegistryError(
            "every entry of the promotion history needs a name and a reason",
            subject=f"model {store.scope.namespace}",
            remedy="Give --reason and --by, each with at least one word",
        )


def sign_waiver(registry: RegistrySession, version: Version, by: str, reason: str | None, until: datetime) -> None:
    """Put a person's permission on a version. Raises GateError without a name or a reason."""
    store = registry.store
    if not (by.strip() and reason and reason.strip()):
        raise GateError(
            "an end date waives nothing without a name and a reason",
            subject=f"{store.scope.namespace} version {version.number}",
            remedy="Give --by and --reason",
        )
    waiver = Waiver(model_name=store.scope.namespace, candidate=version.digest, by=by, reason=reason, expires=until)
    registry.tag(version, WAIVER, store.gate.key.sign(waiver).model_dump_json())
