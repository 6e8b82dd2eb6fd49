"""The model that answers now, and how another model replaces it without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable

from inference_pipeline.online.predictor import Predictor, load_predictor
from ratchet.core.errors import RatchetError, RegistryError, RegistryUnavailableError, UnavailableError
from ratchet.project.run import Run

logger = logging.getLogger(__name__)


class ModelSlot:
    """The predictor in use. `refresh` replaces it by one assignment: a request sees one model from start to end."""

    def __init__(self, run: Run, load: Callable[[Run], Predictor] = load_predictor) -> None:
        self.run = run
        self._load = load
        self._predictor: Predictor | None = None
        self._loaded_for: bytes | None = None
        self._absence: RegistryError = self._no_model("nothing was loaded yet")

    @property
    def ready(self) -> bool:
        return self._predictor is not None

    @property
    def predictor(self) -> Predictor:
        """The loaded predictor. Raises RegistryError with the reason if no model may serve, and RegistryUnavailableError if the
        registry could not be read."""
        if self._predictor is None:
            raise self._absence
        return self._predictor

    def refresh(self) -> None:
        """Load the version that reconcile lets serve, unless it is loaded already.

        If the registry says that no model may serve, the loaded one is dropped. If the registry is unavailable, it stays.
        """
        try:
            announced = self._announced()
            if self.ready and announced == self._loaded_for:
                return
            self._predictor = self._load(self.run)
            self._loaded_for = announced
        except Exception as error:  # noqa: BLE001 - after any error the next call tries again; raising would end the polling
            if _is_refusal(error):
                self._predictor = None
            self._note(error)

    def _note(self, error: Exception) -> None:
        """Keep a failure as the reason why no model serves, and log it when it is a new one."""
        absence = self._no_model(error)
        if str(absence) != str(self._absence):
            logger.warning("no model was loaded: %s", error, exc_info=not isinstance(error, RatchetError))
        self._absence = absence

    def _no_model(self, reason: object) -> RegistryError:
        kind = RegistryError if _is_refusal(reason) else RegistryUnavailableError
        return kind(
            f"no model serves ({reason})",
            subject=self.run.scope.namespace,
            remedy="Loading is tried again every few seconds",
        )

    def _announced(self) -> bytes | None:
        """What reconcile wrote last. It is read before loading, so that the next call notices a change made meanwhile."""
        path = self.run.paths.serving_file
        return path.read_bytes() if path.exists() else None


def _is_refusal(reason: object) -> bool:
    """Whether the error means that no model may serve. An unavailable or full store does not mean that."""
    return isinstance(reason, RatchetError) and not isinstance(reason, UnavailableError)
