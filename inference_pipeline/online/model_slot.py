"""The release that answers now, and how another one replaces it without a restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from inference_pipeline.online.log_writer import LogWriter
from inference_pipeline.online.metrics import Counts
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.release import BASELINE, MODEL, read_release
from inference_pipeline.online.release_folder import Current, ReleaseFolder
from inference_pipeline.online.requests import RequestReader
from inference_pipeline.online.scorer import Scorer
from ratchet.core.errors import RatchetError, RegistryError, RegistryUnavailableError, UnavailableError
from ratchet.feature_store.circuit_breaker import CircuitBreaker
from ratchet.feature_store.freshness import Freshness, read_freshness
from ratchet.feature_store.online_features import OnlineFeatures, micros_of
from ratchet.feature_store.online_store import online_store
from ratchet.gate.signing import SigningKey
from ratchet.project.run import Run

logger = logging.getLogger(__name__)
SILENCE = 15.0
"""Seconds after which the loader counts as gone: it says something every two."""
PATIENCE = 10.0
"""Seconds for which a process that has just started waits for the loader to confirm an earlier release."""


class ModelSlot:
    """The predictor in use. `refresh` replaces it by one assignment: a request sees one release from start to end."""

    def __init__(self, run: Run, load: Callable[[Run, Path, LogWriter, Counts], Predictor] | None = None) -> None:
        self.run = run
        self._load = load or load_predictor
        self._log = LogWriter(run.paths.online_log)
        self.counts = Counts(run.scope.namespace, run.use_case.lookups)
        self._releases = ReleaseFolder.of(run)
        self._predictor: Predictor | None = None
        self._release: str | None = None
        self._started = time.monotonic()
        self.problem: str = "nothing was loaded yet"
        """Why the release that answers may not be the latest; empty if all is well."""
        self._is_refused = False

    @property
    def ready(self) -> bool:
        return self._predictor is not None

    @property
    def predictor(self) -> Predictor:
        """The loaded predictor. Raises RegistryError with the reason if no model may serve, and RegistryUnavailableError if
        that is not known."""
        if self._predictor is None:
            kind = RegistryError if self._is_refused else RegistryUnavailableError
            raise kind(
                f"no model serves ({self.problem})",
                subject=self.run.scope.namespace,
                remedy="Loading is tried again every few seconds",
            )
        return self._predictor

    def refresh(self) -> None:
        """Load the release that the loader names, unless it is loaded already, and note how fresh its features are.

        If no model may serve, the loaded one is dropped. While the loader or the disk is away, it stays.
        """
        try:
            current = self._releases.current()
            if current.release != self._release and self._is_confirmed(current):
                self._follow(current)
            self._note(*self._objection(current))
            if self._predictor:
                note_freshness(self.run, self._predictor)
        except Exception as error:  # noqa: BLE001 - after any error the next call tries again; raising would end the polling
            self._note(str(error), isinstance(error, RatchetError) and not isinstance(error, UnavailableError))

    def close(self) -> None:
        """Write what is still to be logged."""
        self._log.close()

    def _follow(self, current: Current) -> None:
        if current.release is None:
            self._predictor = None
        else:
            self._predictor = self._load(self.run, self._releases.folder(current.release), self._log, self.counts)
        self._release = current.release

    def _is_confirmed(self, current: Current) -> bool:
        """Whether the loader has seen what is announced now. A process that waits in vain serves what was accepted last."""
        is_late = time.monotonic() - self._started > PATIENCE
        return self.ready or is_late or current.examined == self._releases.announced()

    def _objection(self, current: Current) -> tuple[str, bool]:
        """What is not as it should be, and whether a person has to act."""
        if current.problem:
            return current.problem, current.examined != ""
        if not self.ready:
            return "the loader has not said yet what serves", False
        silence = self._releases.silence()
        return (f"the loader has said nothing for {silence:.0f} s", False) if silence > SILENCE else ("", False)

    def _note(self, problem: str, is_refused: bool) -> None:
        """Keep a problem, and log it when it is a new one."""
        if problem and problem != self.problem:
            logger.warning("%s: %s", self.run.scope.namespace, problem)
        self.problem, self._is_refused = problem, is_refused


def load_predictor(run: Run, folder: Path, log: LogWriter, counts: Counts) -> Predictor:
    """The predictor of a release, verified. Raises GateError, DataError or OSError."""
    release = read_release(folder, SigningKey.open(run), run.use_case)
    store = online_store(run.environment, run.paths.state, release.feast_project)
    requests = RequestReader(run.use_case, release.columns)
    return Predictor(
        release,
        run.use_case,
        Scorer.load(folder / MODEL, release.champion, run.use_case),
        Scorer.load(folder / BASELINE, release.baseline, run.use_case) if release.baseline else None,
        OnlineFeatures(
            release.views,
            release.lookups,
            CircuitBreaker(store.reader(release.views)),
            run.settings.serving.tolerance,
        ),
        log,
        run.clock,
        {name: protocol.reader(requests) for name, protocol in PROTOCOLS.items()},
        counts,
    )


def note_freshness(run: Run, predictor: Predictor) -> None:
    """Tell the predictor until when each view may be used. While the online store is being written, that stays as it was."""
    held = read_freshness(run.paths.materialized_file)
    if held:
        names = {
            place.view: lookup.view
            for place, lookup in zip(predictor.release.lookups, run.use_case.lookups, strict=True)
        }
        predictor.features.note_freshness([_usable_until(held.get(names[view])) for view in range(len(names))])


def _usable_until(found: Freshness | None) -> int | None:
    """Until when a view has features that are not too old, in microseconds since 1970; None if for ever."""
    if found is None or found.max_age_seconds is None:
        return None
    return micros_of(found.fresh_until) if found.fresh_until else 0
