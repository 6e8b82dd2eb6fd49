"""The release that answers now, and how another one replaces it without a restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inference_pipeline.online.load_release import load_predictor, note_freshness
from inference_pipeline.online.metrics import show_lost, show_problems, show_rollout
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.release_folder import Current, Objection, ReleaseFolder
from inference_pipeline.online.rollout_watch import RolloutWatch
from inference_pipeline.online.shared import Shared
from ratchet.core.errors import GateError, RatchetError, RegistryError, RegistryUnavailableError, UnavailableError
from ratchet.feature_store.written_store import problem_now
from ratchet.gate.rollout import Rollout
from ratchet.gate.signing import SigningKey
from ratchet.prediction_log.feedback import FeedbackLog
from ratchet.project.run import Run

logger = logging.getLogger(__name__)
SILENCE = timedelta(seconds=15)
"""After this the loader counts as gone: it says something every two seconds."""
PATIENCE, PATIENCE_FOR_NOTHING = 10.0, 60.0
"""Seconds for which a process that has just started waits for the loader to confirm an earlier release; and to say anything at
all, if it never did."""


class ModelSlot:
    """The predictor in use. `refresh` replaces it by one assignment: a request sees one release from start to end."""

    def __init__(
        self,
        run: Run,
        load: Callable[[Run, Path, Shared], Predictor] | None = None,
        ask_store: Callable[[Run], str] = problem_now,
    ) -> None:
        """`load` makes the predictor of a release, and `ask_store` says why the online store must not be used."""
        self.run = run
        self._load = load or load_predictor
        self._ask_store = ask_store
        self._lost: str | None = None
        self.shared = Shared.of(run)
        self.feedback = FeedbackLog(run.paths.online_log)
        self._releases = ReleaseFolder.of(run)
        self._predictor: Predictor | None = None
        self._release: str | None = None
        self._started = time.monotonic()
        self.is_settled = False
        """Whether it is known what serves: from the loader, or because that did not say it for long."""
        self.problem: str = "nothing was loaded yet"
        """Why the release that answers may not be the latest; empty if all is well."""
        self.store_problem: str = ""
        """Why the features of the online store are not used; empty if they are."""
        self.rollout_problem: str = ""
        """Why a challenger that is rolled out gets no requests; empty if it does, or if there is none."""
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

    @property
    def problems(self) -> dict[str, str]:
        """The parts that are not as they should be, `release`, `store`, `log` and `rollout`, and why."""
        parts = {
            "release": self.problem,
            "store": self.store_problem,
            "log": self.shared.log.problem,
            "rollout": self.rollout_problem,
        }
        return {part: why for part, why in parts.items() if why}

    def show(self) -> None:
        """Tell Prometheus what was counted since the last time, and close what no release uses any more. Call it every few
        seconds, in the thread of the event loop."""
        self.shared.features.close_replaced()
        self.shared.counts.show()
        show_problems(self.run.scope.namespace, self.problems)
        rollout = self._predictor.arms.rollout if self._predictor else None
        show_rollout(self.run.scope.namespace, rollout.share if rollout else 0, self.shared.shadow)
        log = self.shared.log
        lost, log.lost = log.lost, 0
        show_lost(self.run.scope.namespace, lost)

    def refresh(self) -> None:
        """Load the release that the loader names, unless it is loaded already, follow its rollout, and note how fresh its
        features are.

        If no model may serve, the loaded one is dropped. While the loader or the disk is away, it stays.
        """
        try:
            current = self._releases.current()
            self.is_settled = self._is_confirmed(current)
            predictor = self._predictor
            if current.release != self._release and self.is_settled:
                predictor = self._loaded(current)
            if self._lost is None:
                self._lost = self._asked_store()
            self._note_store(predictor)
            self._predictor = predictor and self._in_rollout(predictor, current)
            self._release = current.release if self.is_settled else self._release
            self._note(*self._complaint(current))
        except Exception as error:  # noqa: BLE001 - after any error the next call tries again; raising would end the polling
            self._note(str(error), isinstance(error, RatchetError) and not isinstance(error, UnavailableError))

    def check_store(self) -> None:
        """Find out whether the online store may be used at all. Call it every few seconds: asking may take seconds if the store
        hangs, so that `refresh` does it only once, at the start."""
        self._lost = self._asked_store()
        self._note_store(self._predictor)

    def close(self) -> None:
        """Write what is still to be logged."""
        self.shared.close()

    def _loaded(self, current: Current) -> Predictor | None:
        if current.release is None:
            return None
        return self._load(self.run, self._releases.folder(current.release), self.shared)

    def _in_rollout(self, predictor: Predictor, current: Current) -> Predictor:
        """The predictor whose challenger does what the rollout says. If it is found wanting, the champion answers everybody."""
        self.rollout_problem = ""
        rollout = self._verified(predictor, current.rollout) if current.rollout and self.is_settled else None
        if rollout and (why := self._objection(rollout, predictor)):
            self.rollout_problem = f"version {rollout.version} was taken back: {why}"
            rollout = None
        if rollout == predictor.arms.rollout:
            return predictor
        watch = RolloutWatch(self.run.settings.serving.rollout)
        return replace(predictor, arms=replace(predictor.arms, rollout=rollout), watch=watch)

    def _verified(self, predictor: Predictor, rollout: Rollout) -> Rollout | None:
        """The rollout, if it is signed and about the loaded models."""
        try:
            SigningKey.open(self.run).verify(rollout, "End it: `ratchet rollout abort`")
        except GateError as error:
            self.rollout_problem = str(error)
            return None
        champion, challenger = predictor.release.champion, predictor.release.challenger
        if challenger is None or (challenger.digest, champion.digest) != (rollout.digest, rollout.champion):
            self.rollout_problem = f"version {rollout.version} may not answer: the loader's log says why"
            return None
        return rollout

    def _objection(self, rollout: Rollout, predictor: Predictor) -> str:
        """Why the challenger may go no further, as this process or another one found; empty if it may."""
        if known := self._releases.objection_to(rollout):
            return known
        found = predictor.watch.objection() if predictor.arms.rollout == rollout else ""
        if found:
            self._releases.object(Objection(started=rollout.started, reason=found))
        return found

    def _is_confirmed(self, current: Current) -> bool:
        """Whether the loader has seen what is announced now. A process that waits in vain serves what was accepted last."""
        patience = PATIENCE if current.release or current.problem else PATIENCE_FOR_NOTHING
        is_late = time.monotonic() - self._started > patience
        return self.ready or is_late or current.examined == self._releases.announced()

    def _complaint(self, current: Current) -> tuple[str, bool]:
        """What is not as it should be, and whether a person has to act."""
        if current.problem:
            return current.problem, current.examined != ""
        if not self.ready:
            return "the loader has not said yet what serves", False
        if self._releases.is_packaged:
            return "", False
        said = self._releases.said_at()
        if said and datetime.now(UTC) - said <= SILENCE:
            return "", False
        return (
            f"the loader has said nothing since {said:%Y-%m-%d %H:%M:%S} UTC" if said else "the loader is away",
            False,
        )

    def _asked_store(self) -> str:
        try:
            return self._ask_store(self.run)
        except Exception as error:  # noqa: BLE001 - whatever it is, the store cannot be relied on
            return f"online store: {error}"

    def _note_store(self, predictor: Predictor | None) -> None:
        """Note how fresh the features are, whether they may be used at all, and whether this process can read them. A predictor
        must know it before it answers."""
        problem = self._lost or ""
        if predictor:
            predictor.features.problem = problem
            note_freshness(self.run, predictor)
            problem = problem or predictor.features.unreadable
        if problem and problem != self.store_problem:
            logger.warning("%s: %s", self.run.scope.namespace, problem)
        self.store_problem = problem

    def _note(self, problem: str, is_refused: bool) -> None:
        """Keep a problem, and log it when it is a new one."""
        if problem and problem != self.problem:
            logger.warning("%s: %s", self.run.scope.namespace, problem)
        self.problem, self._is_refused = problem, is_refused
