"""The promotion history, which MLflow does not keep: which version served when, and who requested it.

It is stored in tags of the registered model, with one signed entry in each. A further tag holds the last request that was made
through `ratchet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import AwareDatetime, ValidationError

from ratchet.core.errors import GateError, RegistryError
from ratchet.core.settings import Frozen
from ratchet.gate.gate import Gate
from ratchet.gate.record import Waiver
from ratchet.gate.signing import Signed, begin_anew

REQUEST, HISTORY = "ratchet.request", "ratchet.history."
Kind = Literal["promotion", "rollback", "release", "withdrawal"]
"""A release moves no version: it only ends a hold, by which a person's rollback stops promotions by the policy. A withdrawal is
a rollback by the policy, from a refit that later rows showed to be worse; it holds nothing."""
Document = TypeVar("Document", bound=Frozen)
Authored = TypeVar("Authored", "Entry", "PromotionRequest")


class Entry(Signed):
    """One promotion, rollback, release or withdrawal. `number` is its place in the history, and a rollback from here leads to
    `previous`.

    `waiver` is the person's permission under which the version was promoted, if its evidence alone was not enough.
    """

    model_name: str
    number: int
    kind: Kind
    version: int
    previous: int | None
    digest: str
    by: str
    reason: str
    waiver: Waiver | None
    at: AwareDatetime

    @property
    def tag(self) -> str:
        return f"{HISTORY}{self.number:06d}"


class PromotionRequest(Signed):
    """Who asked for a version through `ratchet`, and why, when the history was `after` entries long."""

    model_name: str
    version: int
    by: str
    by_policy: bool
    reason: str
    after: int


@dataclass(frozen=True)
class Snapshot:
    """Aliases, promotion history and the last request, all read at the same time."""

    aliases: Mapping[str, int]
    history: tuple[Entry, ...]
    request: PromotionRequest | None

    @classmethod
    def read(cls, aliases: Mapping[str, int], tags: Mapping[str, str], gate: Gate) -> Snapshot:
        """Raises RegistryError if an entry is missing, or was not signed with this checkout's key for its place."""
        names = sorted(name for name in tags if name.startswith(HISTORY))
        history = tuple(_entry(number, name, tags[name], gate) for number, name in enumerate(names, start=1))
        return cls(aliases, history, _verified(PromotionRequest, tags.get(REQUEST), gate))

    @property
    def champion(self) -> Entry | None:
        """The last entry, which names the version that serves, whatever the aliases are."""
        return self.history[-1] if self.history else None

    @property
    def hold(self) -> Entry | None:
        """The rollback that keeps the policy from promoting, until a person promotes or releases."""
        return self.champion if self.champion and self.champion.kind == "rollback" else None

    def request_for(self, version: int) -> PromotionRequest | None:
        """The signed request for a version, unless the version has been promoted since."""
        request = self.request
        if request is None or request.version != version:
            return None
        since = self.history[request.after :]
        return None if any(entry.version == version and entry.kind != "release" for entry in since) else request

    @property
    def served(self) -> dict[int, str]:
        """Version → its digest when it served, for every version that has served."""
        return {entry.version: entry.digest for entry in self.history}


def _entry(number: int, name: str, text: str, gate: Gate) -> Entry:
    entry = _verified(Entry, text, gate)
    if entry is None or (entry.number, entry.tag) != (number, name):
        raise RegistryError(
            f"{name} is not entry {number}, signed with this checkout's key",
            subject=f"promotion history of {gate.scope.namespace}",
            remedy="Use the key that signed it (RATCHET_SIGNING_KEY), or restore the tags of the registered model; "
            f"if that cannot be done, {begin_anew(gate.scope)}",
        )
    return entry


def _verified(kind: type[Authored], text: str | None, gate: Gate) -> Authored | None:
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


def trail(history: Sequence[Entry]) -> list[int]:
    """The trail of versions that led to the serving version, which is last; a rollback removes the version it leaves."""
    steps: list[int] = []
    for entry in history:
        steps = advance(steps, entry.version)
    return steps


def advance(steps: Sequence[int], version: int) -> list[int]:
    """The trail after a move to `version`. A move to the version before the last one is a step back and shortens the trail."""
    if version in steps[-1:]:
        return list(steps)
    return list(steps[:-1]) if version in steps[-2:-1] else [*steps, version]


def previous(history: Sequence[Entry], version: int) -> int | None:
    """The version that a rollback will lead to when `version` serves; None if there is none before it."""
    before = advance(trail(history), version)[:-1]
    return before[-1] if before else None


def kind_of(history: Sequence[Entry], version: int, *, by_policy: bool) -> Kind:
    """A person who goes back along the trail rolls back, the policy withdraws; every other move is a promotion."""
    if version not in trail(history)[:-1]:
        return "promotion"
    return "withdrawal" if by_policy else "rollback"
