"""The run: the argument of every step, command and service."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from ratchet.code.git import AS_OF_FILE
from ratchet.core.clock import Clock, Period, SystemClock, local_midnight
from ratchet.core.environment import Environment
from ratchet.core.errors import SettingsError
from ratchet.core.paths import Paths
from ratchet.core.scope import Scope
from ratchet.core.settings import PARAMS_FILE, Params, Settings
from ratchet.core.windows import bounds
from ratchet.project.as_of import AsOf, read_as_of
from ratchet.use_case.arrival import Delivery
from ratchet.use_case.contract import UseCase, load_use_case

Pipeline = Literal["training", "inference", "feature"]
PIPELINES: tuple[Pipeline, ...] = get_args(Pipeline)
"""In the order in which locks are taken, so that no two runs wait for each other."""

PeriodName = Literal["train", "early_stopping", "holdout", "fresh", "features", "all"]


@dataclass(frozen=True)
class Run:
    """The settings of a use case in the checkout at `root`, how far its data go, the environment, and a clock. Use case, scope
    and paths are derived from them.

    `instants` are None if the use case has none yet. `given` is a use case to use instead of the one that the settings name.
    """

    root: Path
    settings: Settings
    instants: AsOf | None
    environment: Environment = field(default_factory=Environment)
    clock: Clock = field(default_factory=SystemClock)
    given: UseCase | None = None

    @classmethod
    def load(cls, root: Path | None = None, use_case: str | None = None) -> Run:
        """A run in the folder `root` (default: the working directory), for `use_case` (default: the one that its params.yaml
        selects). Raises SettingsError."""
        root = (root or Path.cwd()).resolve()
        settings = Settings.load(root / PARAMS_FILE, use_case)
        return cls(root, settings, read_as_of(root, settings.use_case), Environment.from_environment())

    @classmethod
    def load_all(cls, root: Path | None = None) -> list[Run]:
        """A run for every use case in params.yaml, in its order. Raises SettingsError."""
        root = (root or Path.cwd()).resolve()
        return [cls.load(root, name) for name in Params.load(root / PARAMS_FILE).use_cases]

    @property
    def scope(self) -> Scope:
        return self.settings.scope

    @property
    def paths(self) -> Paths:
        return Paths(self.root, self.scope)

    @cached_property
    def use_case(self) -> UseCase:
        return self.given or load_use_case(self.settings.use_case)

    def as_of(self, pipeline: Pipeline) -> datetime:
        """How far the data of a pipeline go. Raises SettingsError if that is not set yet."""
        if self.instants is None:
            raise SettingsError(
                "does not say how far the data go",
                subject=f"{AS_OF_FILE}: {self.settings.use_case}",
                remedy=f"Run `ratchet advance {self.settings.use_case}`",
            )
        instant: datetime = getattr(self.instants, pipeline)
        return instant

    def period(self, name: PeriodName) -> Period:
        """A window as of the pipeline that works on it. `all` is everything since history began, `features` what features are
        kept of. Raises SettingsError if it is empty."""
        windows, timezone = self.settings.windows, self.use_case.timezone
        if name == "all":
            return self._history(local_midnight(windows.start, timezone))
        if name == "features":
            return self._history(self._features_from())
        if name == "fresh":
            fresh = bounds(windows, self.as_of("inference"), timezone).fresh
            return Period(local_midnight(fresh, timezone), self.as_of("inference"))
        begins = bounds(windows, self.as_of("training"), timezone)
        first, end = {
            "train": (begins.train, begins.early_stopping),
            "early_stopping": (begins.early_stopping, begins.holdout),
            "holdout": (begins.holdout, begins.fresh),
        }[name]
        return Period.between(first, end, timezone)

    def delivery(self, table: str) -> Delivery:
        """How the rows of a table reach the features."""
        return Delivery(self.settings.source.lag.get(table, timedelta(0)), self.settings.schedules.feature)

    def _history(self, start: datetime) -> Period:
        end = self.as_of("feature")
        if end <= start:
            raise SettingsError(
                f"history begins at {start.isoformat()}, and the data go only up to {end.isoformat()}",
                subject=f"{PARAMS_FILE}: windows.start of {self.settings.use_case}",
                remedy=f"Run `ratchet advance {self.settings.use_case} --to` a later day, or let history begin earlier",
            )
        return Period(start, end)

    def _features_from(self) -> datetime:
        kept, zone = self.settings.retention.features, ZoneInfo(self.use_case.timezone)
        start = self.settings.windows.start
        oldest = (self.as_of("feature").astimezone(zone).replace(tzinfo=None) - kept).date() if kept else start
        return local_midnight(max(start, oldest), self.use_case.timezone)

    def as_of_instants(self, instants: AsOf) -> Run:
        """A copy of this run as of other instants."""
        return replace(self, instants=instants)

    def with_settings(self, **changes: object) -> Run:
        """A copy of this run with other top-level settings."""
        return replace(self, settings=self.settings.model_copy(update=changes))
