"""Which model answers: the champion or, while a challenger is rolled out, that for some callers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from inference_pipeline.online.protocols.port import Inputs
from inference_pipeline.online.scorer import Scorer
from inference_pipeline.online.vectors import Vectors
from ratchet.gate.rollout import Rollout
from ratchet.prediction_log.arms import ASKED, CHALLENGER, CHAMPION

_PLACES = 2**64


@dataclass(frozen=True)
class Arm:
    """A model that answers, and the name under which it does."""

    name: str
    scorer: Scorer


@dataclass(frozen=True)
class Arms:
    """The loaded models. Without a rollout, the champion answers everybody.

    `sticky_by` are the columns of a request whose values decide who answers; without one, its whole content does.
    """

    champion: Scorer
    challenger: Scorer | None = None
    rollout: Rollout | None = None
    sticky_by: Sequence[str] = ()
    name: str = CHAMPION

    @property
    def first(self) -> Arm:
        """The arm that answers if nothing else is said, or if the challenger fails."""
        return Arm(self.name, self.champion)

    @property
    def mirrored(self) -> Scorer | None:
        """The challenger, if it predicts what the champion answers."""
        return self.challenger if self.rollout and self.rollout.mirrors else None

    def of(self, inputs: Inputs) -> Arm:
        """The arm that answers a request: one for all its instances, so that no answer comes from two models."""
        rollout = self.rollout
        if rollout is None or self.challenger is None or not rollout.share:
            return self.first
        if place(rollout, {*self._entities(inputs)}) < rollout.share:
            return Arm(CHALLENGER, self.challenger)
        return self.first

    def pinned(self, version: str) -> Arms | None:
        """The loaded model of this version alone; None if there is none."""
        loaded = (self.champion, self.challenger)
        found = next((each for each in loaded if each and str(each.released.version) == version), None)
        if found is self.champion and self.rollout is None:
            return self
        return replace(self, champion=found, challenger=None, rollout=None, name=ASKED) if found else None

    def _entities(self, inputs: Inputs) -> Iterator[str]:
        if isinstance(inputs, Vectors):
            yield from (repr([*row.values()]) for row in inputs.rows)
        else:
            columns = [inputs.values[name] for name in self.sticky_by or sorted(inputs.values)]
            yield from map(repr, zip(*columns, strict=True))


def place(rollout: Rollout, entities: set[str]) -> float:
    """The place of entities among all, from 0 up to 100 percent. It is the same in all steps of a rollout, and independent of
    the one in any other rollout."""
    text = "\n".join([rollout.model_name, str(rollout.started), *sorted(entities)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) * 100 / _PLACES
