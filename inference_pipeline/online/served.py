"""What is served, by the names that callers use: `NAME` takes requests, and `NAME.vectors` ready feature vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference_pipeline.online.instances import REQUESTS, VECTORS, InstanceReader
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import Inputs
from inference_pipeline.online.release import Release
from ratchet.core.errors import RatchetError, UnknownModelError


class Served:
    """The models of all use cases."""

    def __init__(self, slots: Sequence[ModelSlot]) -> None:
        self.slots = slots
        names = {slot.run.scope.namespace: slot for slot in slots}
        self._slots = {name + form: (slot, form) for name, slot in names.items() for form in (REQUESTS, VECTORS)}

    def names(self) -> Sequence[str]:
        return sorted(self._slots)

    def slot(self, name: str) -> ModelSlot:
        """Raises UnknownModelError."""
        if name not in self._slots:
            raise UnknownModelError(
                "is not served", subject=f"model {name!r}", remedy=f"There is {', '.join(self.names())}"
            )
        return self._slots[name][0]

    def predictor(self, name: str, version: str | None = None) -> Predictor:
        """Raises UnknownModelError; RegistryError with the reason if no model may serve, or RegistryUnavailableError."""
        predictor = self.slot(name).predictor
        asked = predictor.pinned(version) if version else predictor
        if asked is None:
            raise UnknownModelError(
                "is not served",
                subject=f"version {version!r} of model {name!r}",
                remedy=f"Ask for version {' or '.join(predictor.release.versions)}",
            )
        return asked

    def asked(self, name: str, version: str | None = None) -> tuple[Predictor, InstanceReader[Inputs]]:
        """What answers, and what may be sent to it: both of one release. Raises as `predictor` does."""
        predictor = self.predictor(name, version)
        return predictor, predictor.instances[self._slots[name][1]]

    def metadata(self, name: str, version: str | None = None) -> tuple[Release, InstanceReader[Inputs]]:
        predictor, instances = self.asked(name, version)
        return predictor.release, instances

    def problem(self, name: str) -> str:
        """Why a model does not answer; empty if it does. Raises UnknownModelError."""
        try:
            self.predictor(name)
        except UnknownModelError:
            raise
        except RatchetError as error:
            return str(error)
        return ""

    def problems(self, name: str) -> Mapping[str, str]:
        """The parts of a model that are not as they should be while it answers, and why."""
        return self.slot(name).problems

    def is_ready(self) -> bool:
        return any(slot.ready for slot in self.slots)
