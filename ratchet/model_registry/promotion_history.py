"""The promotion history, which MLflow does not keep: which version served when, and who requested it.

It is stored in tags of the registered model, with one signed entry in each. A further tag holds the last request that was made
through `ratchet`, and others the changes of rollouts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime

from ratchet.core.errors import RegistryError
from ratchet.gate.gate import Gate
from ratchet.gate.record import Waiver
from ratchet.gate.rollout import Rollout
from ratchet.gate.signing import Signed, begin_anew
from ratchet.model_registry.signed_tags import verified

REQUEST, HISTORY, ROLLOUTS = "ratchet.request", "ratchet.history.", "ratchet.rollout."
_ROLLOUT = re.compile(re.escape(ROLLOUTS) + r"(\d{6})")
Kind = Literal["promotion", "rollback", "release", "withdrawal"]
"""A release moves no version: it only ends a hold, by which a person's rollback stops promotions by the policy. A withdrawal is
a rollback by the policy, from a refit that later rows showed to be worse; it holds nothing."""


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
    """Aliases, promotion history, the last request and the changes of rollouts, all read at the same time."""

    aliases: Mapping[str, int]
    history: tuple[Entry, ...]
    request: PromotionRequest | None
    rollouts: Mapping[int, Rollout | None]
    """Number → change, in order; None if it was not signed with this checkout's key for its place."""

    @classmethod
    def read(cls, aliases: Mapping[str, int], tags: Mapping[str, str], gate: Gate) -> Snapshot:
        """Raises RegistryError if an entry is missing, or was not signed with this checkout's key for its place."""
        names = sorted(name for name in tags if name.startswith(HISTORY))
        history = tuple(_entry(number, name, tags[name], gate) for number, name in enumerate(names, start=1))
        return cls(aliases, history, verified(PromotionRequest, tags.get(REQUEST), gate), _rollouts(tags, gate))

    @property
    def champion(self) -> Entry | None:
        """The last entry, which names the version that serves, whatever the aliases are."""
        return self.history[-1] if self.history else None

    @property
    def hold(self) -> Entry | None:
        """The rollback that keeps the policy from promoting, until a person promotes or releases."""
        return self.champion if self.champion and self.champion.kind == "rollback" else None

    @property
    def promotion(self) -> int:
        """The number of the entry by which the champion serves; 0 if nothing does."""
        return next((entry.number for entry in reversed(self.history) if entry.kind != "release"), 0)

    @property
    def rollout(self) -> Rollout | None:
        """The rollout that goes on: the last change, unless that ended it or is not valid, or another promotion came since."""
        last = [*self.rollouts.values()][-1] if self.rollouts else None
        return last if last and last.kind != "abort" and last.promotion == self.promotion else None

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

    @property
    def evidence(self) -> set[int]:
        """The versions whose files and record are evidence: they answered somebody."""
        return {*self.served, *(change.version for change in self.rollouts.values() if change and change.share)}


def _entry(number: int, name: str, text: str, gate: Gate) -> Entry:
    entry = verified(Entry, text, gate)
    if entry is None or (entry.number, entry.tag) != (number, name):
        raise RegistryError(
            f"{name} is not entry {number}, signed with this checkout's key",
            subject=f"promotion history of {gate.scope.namespace}",
            remedy="Use the key that signed it (RATCHET_SIGNING_KEY), or restore the tags of the registered model; "
            f"if that cannot be done, {begin_anew(gate.scope)}",
        )
    return entry


def _rollouts(tags: Mapping[str, str], gate: Gate) -> dict[int, Rollout | None]:
    found = {int(name): tags[ROLLOUTS + name] for name in sorted(map(_number_of_rollout, tags)) if name}
    changes = {number: verified(Rollout, text, gate) for number, text in found.items()}
    return {number: change if change and change.number == number else None for number, change in changes.items()}


def _number_of_rollout(tag: str) -> str:
    match = _ROLLOUT.fullmatch(tag)
    return match[1] if match else ""


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
