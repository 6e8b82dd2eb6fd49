"""The run: the argument of every step, command and service."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from ratchet.core.clock import Clock, Period, SystemClock
from ratchet.core.environment import Environment
from ratchet.core.paths import Paths
from ratchet.core.scope import Scope
from ratchet.core.settings import PARAMS_FILE, Params, Settings
from ratchet.use_case.contract import UseCase, load_use_case

PeriodName = Literal["train", "early_stopping", "holdout", "fresh", "all"]
_BOUNDS: dict[str, tuple[str, str]] = {
    "train": ("start", "early_stopping"),
    "early_stopping": ("early_stopping", "holdout"),
    "holdout": ("holdout", "fresh"),
    "fresh": ("fresh", "end"),
    "all": ("start", "end"),
}


@dataclass(frozen=True)
class Run:
    """The settings of a use case in the checkout at `root`, the environment, and a clock. Use case, scope and paths are derived
    from them.

    `given` is a use case to use instead of the one that the settings name.
    """

    root: Path
    settings: Settings
    environment: Environment = field(default_factory=Environment)
    clock: Clock = field(default_factory=SystemClock)
    given: UseCase | None = None

    @classmethod
    def load(cls, root: Path | None = None, use_case: str | None = None) -> Run:
        """A run in the folder `root` (default: the working directory), for `use_case` (default: the one that its params.yaml
        selects). Raises SettingsError."""
        root = (root or Path.cwd()).resolve()
        return cls(root, Settings.load(root / PARAMS_FILE, use_case), Environment.from_environment())

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

    def period(self, name: PeriodName) -> Period:
        periods = self.settings.periods
        first, end = (getattr(periods, bound) for bound in _BOUNDS[name])
        return Period.between(first, end, self.use_case.timezone)

    def with_settings(self, **changes: object) -> Run:
        """A copy of this run with other top-level settings."""
        return replace(self, settings=self.settings.model_copy(update=changes))
