"""A use case as Feast objects, for the `feast` command in this folder: the one that was materialized last.

`ratchet stage materialize` writes feature_store.yaml here and applies the same objects. Then, from the root of the
checkout, `feast -c feature_repo feature-views list` and the like work in an environment that has Ratchet installed. The file
names databases by absolute paths: once the checkout was moved, run that stage first.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from ratchet.feature_store.definitions import definitions, feast_project
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.project.run import Run

HERE = Path(__file__).parent
materialized = yaml.safe_load((HERE / "feature_store.yaml").read_text(encoding="utf-8"))["project"]
known = {feast_project(run.scope): run for run in Run.load_all(HERE.parent)}

globals().update(definitions(FeatureStore.open(known[materialized])))  # `feast apply` looks at the names of a module
