"""The loader finds out what serves, verifies it, and writes it as a release, which serving processes map.

It alone needs MLflow and the libraries of training. It imports them when there is something to examine: with a release that was
made before, the service starts without them. While it is away, serving processes go on with the release that they have.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from inference_pipeline.online.release_folder import Current, Objection, ReleaseFolder
from ratchet.core.errors import RatchetError, UnavailableError
from ratchet.gate.rollout import Rollout
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.prediction_log.feedback import FeedbackLog
from ratchet.project.run import Run

logger = logging.getLogger(__name__)
FIRST_PAUSE = 5.0
"""Seconds from the start until a problem that is known already is examined again: until then, processes that answer start."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks at a champion that was refused. To verify it again and again would keep a core busy."""
CERTAIN = 0.999
"""The confidence at which a challenger is shown to be worse. It is high because the question is asked again and again."""


class Loader:
    """Keeps the releases of a use case up to date. Call `refresh` every few seconds, and `judge` every few minutes."""

    def __init__(self, run: Run, seconds: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._seconds = seconds
        self._refusals = 0
        self._again_at = seconds() + FIRST_PAUSE
        self._releases = ReleaseFolder.of(run)
        self._logged = ""
        self._reported = 0

    def refresh(self) -> None:
        """Make a release of what serves now, if something else was announced since the last time.

        A rollout to whose challenger a serving process objected is ended.

        If the registry does not answer, or refuses what serves, the last accepted release stays, and the problem is said. If no
        model was promoted, there is none. What was refused is examined again after a while. Whatever else fails is logged, and
        tried again by the next call.
        """
        try:
            said = self._releases.current()
            self._end_objected(said.rollout)
            announced = self._releases.announced()
            if said.examined != announced or (said.problem and self._seconds() >= self._again_at):
                said = self._examine(announced, said)
            self._releases.say(said)
        except Exception as error:  # noqa: BLE001 - raising would end the polling; workers notice that nothing is said
            self._log(str(error))

    def judge(self) -> None:
        """Object to a challenger that outcomes have shown to predict worse. Reading the log may take long, so it is only read
        when something was reported since the last time."""
        try:
            rollout = self._releases.current().rollout
            reported = FeedbackLog(self._run.paths.online_log).size() if rollout else 0
            if reported == self._reported:
                return
            from inference_pipeline.online.arm_figures import arm_figures  # imports SciPy

            self._reported = reported
            found = arm_figures(self._run, rollout, self._run.clock.now(), CERTAIN) if rollout else None
        except RatchetError as error:
            logger.warning("the arms of a rollout cannot be compared: %s", error)
            return
        if rollout and found and found.gain.upper is not None and found.gain.upper < 0:
            worse = f"its gain is at most {found.gain.upper:.2%} on {found.challenger.outcomes:,} outcomes"
            self._releases.object(Objection(started=rollout.started, reason=f"it predicts worse: {worse}"))

    def _examine(self, announced: str, said: Current) -> Current:
        from inference_pipeline.online.release_writer import write_release

        try:
            release, rollout = write_release(self._run, self._releases)
        except UnavailableError as error:
            return said.model_copy(update={"problem": self._log(str(error))})
        except RatchetError as error:
            kept = said.release if self._is_promoted() else None
            self._wait()
            return Current(release=kept, examined=announced, problem=self._log(str(error)))
        self._refusals = 0
        self._releases.tidy(release)
        return Current(release=release, rollout=rollout, examined=announced)

    def _wait(self) -> None:
        """Examine the same again at once, as it may have changed meanwhile, and then after longer and longer pauses."""
        self._again_at = self._seconds() + (min(2.0**self._refusals, LONGEST_PAUSE) if self._refusals else 0)
        self._refusals += 1

    def _end_objected(self, rollout: Rollout | None) -> None:
        """Raises UnavailableError if the registry does not answer; until it does, no process lets the challenger answer."""
        if rollout and (reason := self._releases.objection_to(rollout)):
            from ratchet.model_registry.promotion import POLICY
            from ratchet.model_registry.rollout import abort

            abort(ModelRegistry.open(self._run), by=POLICY, reason=reason, started=rollout.started)

    def _is_promoted(self) -> bool:
        from ratchet.model_registry.champion import champion_version

        try:
            return champion_version(ModelRegistry.open(self._run)) is not None
        except UnavailableError:
            return True

    def _log(self, problem: str) -> str:
        """Log a problem when it is a new one, and return it."""
        if problem != self._logged:
            logger.warning("%s: no release was made: %s", self._run.scope.namespace, problem)
        self._logged = problem
        return problem
