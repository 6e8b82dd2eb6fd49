"""A checkout at work: settings, use case, environment, clock, and where everything lies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from ratchet.core.clock import Clock, Period, SystemClock
from ratchet.core.environment import Environment
from ratchet.core.errors import SettingsError
from ratchet.core.settings import PARAMS_FILE, Params, Settings
from ratchet.use_case.contract import Loader, UseCase, load_use_case

PeriodName = Literal["train", "early_stopping", "holdout", "fresh", "all"]
_BOUNDS: dict[str, tuple[str, str]] = {
    "train": ("start", "early_stopping"),
    "early_stopping": ("early_stopping", "holdout"),
    "holdout": ("holdout", "fresh"),
    "fresh": ("fresh", "end"),
    "all": ("start", "end"),
}


@dataclass(frozen=True)
class Project:
    """All that a step is given. Every path below carries use case and source, so that cities never mix."""

    root: Path
    settings: Settings
    environment: Environment = field(default_factory=Environment)
    clock: Clock = field(default_factory=SystemClock)
    given: UseCase | None = None
    """A use case in the place of the one that the settings name."""

    @classmethod
    def load(cls, root: Path | None = None, use_case: str | None = None) -> Project:
        """The project of a folder (default: the working directory) and of this process's environment.

        It is that of the use case which params.yaml selects, or of another one in it.
        """
        root = (root or Path.cwd()).resolve()
        return cls(root, Settings.load(root / PARAMS_FILE, use_case), Environment.from_environment())

    @classmethod
    def load_all(cls, root: Path | None = None) -> list[Project]:
        """The project of every use case in params.yaml, in its order."""
        root = (root or Path.cwd()).resolve()
        return [cls.load(root, name) for name in Params.load(root / PARAMS_FILE).use_cases]

    @cached_property
    def use_case(self) -> UseCase:
        return self.given or load_use_case(self.settings.use_case)

    @property
    def loader(self) -> Loader:
        known = self.use_case.sources
        name = self.settings.source.name
        if name not in known:
            raise SettingsError(
                f"source {name!r} is none of {', '.join(sorted(known))}",
                subject=PARAMS_FILE,
                remedy="Set source.name to one of them",
            )
        return known[name]

    def period(self, name: PeriodName) -> Period:
        periods = self.settings.periods
        first, end = (getattr(periods, bound) for bound in _BOUNDS[name])
        return Period.between(first, end, self.use_case.timezone)

    def with_settings(self, **changes: object) -> Project:
        """The same project with other top-level settings."""
        return replace(self, settings=self.settings.model_copy(update=changes))

    @property
    def namespace(self) -> str:
        """`{use case}-{source}`: the MLflow model's name and, with underscores, the Feast project's."""
        return f"{self.settings.use_case.rpartition('.')[2]}-{self.settings.source.name}"

    @property
    def _own(self) -> Path:
        return Path(self.settings.use_case) / self.settings.source.name

    @property
    def data(self) -> Path:
        return self.root / "data" / self._own

    @property
    def raw(self) -> Path:
        """raw/{table}/{batch}.parquet, as delivered, in canonical types."""
        return self.data / "raw"

    @property
    def accepted(self) -> Path:
        """accepted/{table}/date=…/{batch}.parquet; reference tables without a date."""
        return self.data / "accepted"

    @property
    def quarantine(self) -> Path:
        """quarantine/{table}/{batch}.parquet: rejected rows with `reasons`."""
        return self.data / "quarantine"

    @property
    def features(self) -> Path:
        """views/{view}/, requests/ and labels/, each by UTC date: the offline store."""
        return self.data / "features"

    @property
    def dataset(self) -> Path:
        """dataset/: the rows that a training run fits and judges on, frozen."""
        return self.data / "dataset"

    @property
    def evaluation(self) -> Path:
        """evaluation/: what else `evaluate` needs of the features, frozen beside the dataset."""
        return self.data / "evaluation"

    @property
    def models(self) -> Path:
        """models/baseline/ and models/candidate/, before the registry has them."""
        return self.data / "models"

    @property
    def gate(self) -> Path:
        """gate/baseline.json and gate/candidate.json: signed gate records."""
        return self.data / "gate"

    @property
    def predictions(self) -> Path:
        """Batch half of the prediction log: date=…/{part}.parquet."""
        return self.data / "predictions"

    @property
    def reports(self) -> Path:
        return self.root / "reports" / self._own

    @property
    def shared_reports(self) -> Path:
        """Reports of whichever use case was summarised last."""
        return self.root / "reports"

    @property
    def shared_state(self) -> Path:
        """Databases, keys and locks of the whole checkout; never versioned."""
        return self.root / "state"

    @property
    def state(self) -> Path:
        """Databases and markers of this use case and source; never versioned by DVC."""
        return self.shared_state / self._own

    @property
    def online_log(self) -> Path:
        """Online half of the prediction log: date=…/{process}.jsonl."""
        return self.state / "prediction_log"

    @property
    def serving_file(self) -> Path:
        """Which model serves: written by reconcile, read by DVC as a dependency of predict."""
        return self.state / "serving.json"

    @property
    def requested_file(self) -> Path:
        """Which version people ask for that does not serve yet: written by the sensors, read by DVC for reconcile."""
        return self.shared_state / "sensors" / f"{self.namespace}.requested.json"

    @property
    def missing_file(self) -> Path:
        """Which registered models the registry has lost: written by the sensors, read by DVC for register."""
        return self.shared_state / "sensors" / f"{self.namespace}.missing.json"
