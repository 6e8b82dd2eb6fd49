"""The steps of the three pipelines: the one list that commands, flows, the summary and the help use.

Add a step here and in dvc.yaml; a test compares its dependencies there with the imports of the step. Entry points are text and
are imported only when they run, so this package imports no pipeline.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ratchet.project.run import Pipeline
    from ratchet.project.step_reports import Step as StepFunction


@dataclass(frozen=True)
class Step:
    """A step: a stage of dvc.yaml, and a task of each pipeline's flow that it is part of."""

    name: str
    entry_point: str
    """`module:function`"""
    pipelines: tuple[Pipeline, ...]
    keeps_out: tuple[Pipeline, ...] = ()
    """The pipelines that may not change data of the use case while the step runs."""

    @property
    def module(self) -> str:
        return self.entry_point.partition(":")[0]

    def load(self) -> StepFunction:
        """The function that does the work."""
        module, _, function = self.entry_point.partition(":")
        return cast("StepFunction", getattr(importlib.import_module(module), function))


_ALL = (
    Step("ingest", "feature_pipeline.ingest:ingest", ("feature",), ("feature",)),
    Step("validate", "feature_pipeline.validate:validate", ("feature",), ("feature",)),
    Step("featurize", "feature_pipeline.featurize:featurize", ("feature",), ("feature",)),
    Step("materialize", "feature_pipeline.materialize:materialize", ("feature",), ("feature",)),
    Step("dataset", "training_pipeline.dataset:dataset", ("training",), ("training", "feature")),
    Step("train", "training_pipeline.train:train", ("training",), ("training",)),
    Step("evaluate", "training_pipeline.evaluate:evaluate", ("training",), ("training",)),
    Step("refit", "training_pipeline.refit:refit", ("training",), ("training",)),
    Step("register", "training_pipeline.register:register", ("training",), ("training",)),
    Step("reconcile", "ratchet.project.reconcile:reconcile", ("training", "inference")),
    Step("predict", "inference_pipeline.batch.predict:predict", ("inference",), ("inference", "feature")),
    Step("monitor", "inference_pipeline.monitor.drift:monitor", ("inference",), ("inference",)),
)
STEPS = {step.name: step for step in _ALL}
"""Name → step, in order. `reconcile` also runs before scoring, because a version may be requested after training."""


def steps_of(pipeline: Pipeline) -> list[Step]:
    """The steps of a pipeline, in order."""
    return [step for step in STEPS.values() if pipeline in step.pipelines]
