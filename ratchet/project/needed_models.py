"""Which models, and which data versions of runs, are still needed, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

from ratchet.model_registry.changes import registered_last
from ratchet.model_registry.logged_models import LoggedModel
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.prediction_log.dropped import models_since
from ratchet.project.dvc import Locked
from ratchet.project.kept_data import contents_of, latest_instant, stages_of_model
from ratchet.project.run import PIPELINES, Run


@dataclass(frozen=True)
class Needs:
    """What models of a use case are kept for: the digests of those that served or were trained last, the numbers of versions
    that have an alias, and the prediction log.

    `stages` has for each model's run in MLflow the stages that had run by then.
    """

    run: Run
    served: frozenset[str]
    trained: frozenset[str]
    named: frozenset[int]
    stages: Mapping[str, Locked]

    @property
    def kept(self) -> timedelta | None:
        return self.run.settings.retention.runs

    @property
    def newest(self) -> datetime:
        """The instant from which ages are counted back."""
        return max(self.run.as_of(pipeline) for pipeline in PIPELINES)

    @property
    def age(self) -> str:
        """The reason for a removal."""
        return f"before {self.newest - self.kept:%Y-%m-%d} (retention.runs: {self.kept.days}d)" if self.kept else ""

    @property
    def rest(self) -> str:
        """The reason for keeping what has no other."""
        return "later" if self.kept else "for ever: no retention.runs"

    def is_old(self, instant: datetime | None) -> bool:
        return bool(self.kept and instant and instant < self.newest - self.kept)

    def reason(self, model: LoggedModel) -> str | None:
        """Why a model is kept; None if it is not needed."""
        if model.digest in self.served:
            return "served"
        if model.version in self.named:
            return "with an alias"
        if model.digest in self.trained:
            return "trained last"
        if not self.kept:
            return self.rest
        return self._young(model) or ("in kept predictions" if model.digest in self._predicting else None)

    def _young(self, model: LoggedModel) -> str | None:
        """Why a model is kept for its age. If its version was deleted, and no age is known, its registration was killed."""
        instant = latest_instant(self.stages[model.run_id])
        if model.is_trash or (instant is None and model.version is None) or self.is_old(instant):
            return None
        return self.rest if instant else "of unknown age"

    @cached_property
    def _predicting(self) -> frozenset[str]:
        """The digests of the models that made the predictions that are kept."""
        paths = self.run.paths
        return frozenset(models_since(paths.predictions, paths.online_log, first_kept_day(self.run)))

    def contents(self, model: LoggedModel) -> Iterator[str]:
        """DVC's names of the data that belong to a model."""
        yield from model.data
        yield from contents_of(self.stages[model.run_id])


def needs(run: Run, models: Sequence[LoggedModel]) -> Needs:
    """What models of the use case are kept for. `models` are all models that the registry holds."""
    store, served, named = ModelRegistry.open(run), frozenset[str](), frozenset[int]()
    if models:
        with open_registry(store, "promotion") as registry:
            snapshot = registry.snapshot()
        served, named = frozenset(snapshot.served.values()), frozenset(snapshot.aliases.values())
    runs = Run.load_all(run.root)
    stages = {model.run_id: stages_of_model(model, runs) for model in models}
    return Needs(run, served, frozenset(registered_last(store)), named, stages)


def first_kept_day(run: Run) -> date:
    """The first UTC date of which predictions are kept."""
    kept = run.settings.retention.predictions
    return (run.as_of("inference") - kept).date() if kept else date.min
