"""The active use case as Feast objects, for the `feast` command in this folder.

`ratchet stage materialize` writes feature_store.yaml here and applies the same objects. Then, from the root of the
checkout, `feast -c feature_repo feature-views list` and the like work in an environment that has Ratchet installed.
"""

from __future__ import annotations

from pathlib import Path

from ratchet.feature_registry import definitions
from ratchet.project import Project

globals().update(definitions(Project.load(Path(__file__).parents[1])))  # `feast apply` looks at the names of a module
