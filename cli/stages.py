"""Stage name → the function that does it, imported only when it runs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ratchet.project.step_reports import Step

STAGES = {
    "ingest": "feature_pipeline.ingest:ingest",
    "validate": "feature_pipeline.validate:validate",
    "featurize": "feature_pipeline.featurize:featurize",
    "materialize": "feature_pipeline.materialize:materialize",
    "train": "training_pipeline.train:train",
    "evaluate": "training_pipeline.evaluate:evaluate",
    "register": "training_pipeline.register:register",
    "reconcile": "ratchet.model_registry.promotion:reconcile",
    "predict": "inference_pipeline.batch.predict:predict",
    "monitor": "inference_pipeline.monitor.drift:monitor",
}


def load_stage(name: str) -> Step:
    """The step of a stage."""
    module, function = STAGES[name].split(":")
    return cast("Step", getattr(importlib.import_module(module), function))
