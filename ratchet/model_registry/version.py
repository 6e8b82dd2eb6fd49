"""A version of the registered model, as the rest of the code sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.entities.model_registry import ModelVersion

from ratchet.model_registry.tags import DIGEST


@dataclass(frozen=True)
class Version:
    """One version. Its digest is empty if it was made by hand, without a digest or a run."""

    number: int
    digest: str
    run_id: str
    source: str
    tags: Mapping[str, str]


def version_of(found: ModelVersion) -> Version:
    """The version that an object of MLflow describes."""
    digest = found.tags.get(DIGEST, "")
    is_ours = re.fullmatch("[0-9a-f]{64}", digest) and found.run_id
    return Version(int(found.version), digest if is_ours else "", found.run_id, found.source, found.tags)
