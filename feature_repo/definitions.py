"""The Feast objects of the use case that was materialized last, for the `feast` command in this folder.

`ratchet stage materialize` writes feature_store.yaml here and applies the same objects. After that, commands such as
`feast -c feature_repo feature-views list` work from the root of the checkout, in an environment that has Ratchet installed.
The file contains absolute paths of databases: run that stage again after you move the checkout.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from ratchet.feature_store.definitions import definitions
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_store import feast_project
from ratchet.project.run import Run

HERE = Path(__file__).parent
materialized = yaml.safe_load((HERE / "feature_store.yaml").read_text(encoding="utf-8"))["project"]
known = {feast_project(run.scope): run for run in Run.load_all(HERE.parent)}

globals().update(definitions(FeatureStore.open(known[materialized])))  # `feast apply` reads the names of a module
