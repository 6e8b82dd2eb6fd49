"""Which model answers now, and how another takes its place without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable

from inference_pipeline.online.predictor import Predictor, load_predictor
from ratchet.core.errors import RatchetError, RegistryError
from ratchet.project.project import Project

logger = logging.getLogger(__name__)


class ModelSlot:
    """The predictor in use. `refresh` replaces it by one assignment: a request sees one model from start to end."""

    def __init__(self, project: Project, load: Callable[[Project], Predictor] = load_predictor) -> None:
        self.project = project
        self._load = load
        self._predictor: Predictor | None = None
        self._loaded_for: bytes | None = None
        self._reason = "nothing was loaded yet"

    @property
    def ready(self) -> bool:
        return self._predictor is not None

    @property
    def predictor(self) -> Predictor:
        """Raises RegistryError, with the reason, while no model could be loaded."""
        if self._predictor is None:
            raise RegistryError(
                f"no model serves ({self._reason})",
                subject=self.project.namespace,
                remedy="Loading is tried again every few seconds",
            )
        return self._predictor

    def refresh(self) -> None:
        """Load what reconcile has made serve, unless it is loaded. What is loaded stays only while that cannot be learnt."""
        try:
            announced = self._announced()
            if self.ready and announced == self._loaded_for:
                return
            self._predictor = self._load(self.project)
            self._loaded_for = announced
        except Exception as error:  # noqa: BLE001 - whatever it is, the next call tries again; a dead poll never would
            if _is_an_answer(error):
                self._predictor = None
            self._give_reason(error)

    def _give_reason(self, error: Exception) -> None:
        """Log a failure when it is a new one."""
        if str(error) != self._reason:
            self._reason = str(error)
            logger.warning("no model was loaded: %s", error, exc_info=not isinstance(error, RatchetError))

    def _announced(self) -> bytes | None:
        """What reconcile wrote last; read before loading, so that a move meanwhile is seen by the next call."""
        path = self.project.serving_file
        return path.read_bytes() if path.exists() else None


def _is_an_answer(error: Exception) -> bool:
    """Whether it is known that what is loaded no longer serves; a store that is away or full says nothing of the kind.

    Behind the errors of such a store lies one of the system's or of a library's.
    """
    return isinstance(error, RatchetError) and isinstance(error.__cause__, RatchetError | None)
