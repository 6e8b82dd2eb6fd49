"""Signed documents in tags, which anybody may write who reaches the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from ratchet.core.errors import GateError
from ratchet.core.frozen import Frozen
from ratchet.gate.gate import Gate
from ratchet.gate.rollout import Rollout

if TYPE_CHECKING:
    from ratchet.model_registry.promotion_history import Entry, PromotionRequest

Document = TypeVar("Document", bound=Frozen)
Authored = TypeVar("Authored", "Entry", "PromotionRequest", Rollout)


def verified(kind: type[Authored], text: str | None, gate: Gate) -> Authored | None:
    """A document about this model that was signed with this checkout's key; None for any other text."""
    document = parsed(kind, text)
    try:
        if document is not None:
            gate.key.verify(document)
    except GateError:
        return None
    return document if document is not None and document.model_name == gate.scope.namespace else None


def parsed(kind: type[Document], text: str | bytes | None) -> Document | None:
    """The document in a tag or file; None if it is absent, or is not such a document."""
    try:
        return kind.model_validate_json(text) if text else None
    except ValidationError:
        return None
