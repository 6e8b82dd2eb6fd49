"""A model's contract: what it takes and what it was made from. Reading one imports nothing that would load the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime

from ratchet.core.errors import RegistryError
from ratchet.core.settings import Frozen
from ratchet.models.model_files import CONTRACT
from ratchet.use_case.contract import Kind, Task


class Contract(Frozen):
    """What a model needs and where it comes from. No label known at or after `trained_until` was used.

    `data_version` names the frozen set that it was fitted on, `features_version` the features that this came from; both as DVC
    names a directory.
    """

    model_name: str
    use_case: str
    source: str
    task: Task
    kind: Literal["baseline", "lightgbm"]
    feature_service: str
    fingerprint: str
    inputs: dict[str, Kind]
    trained_from: AwareDatetime
    trained_until: AwareDatetime
    data_version: str
    features_version: str
    commit: str | None
    dirty: bool
    experiment: str | None
    params: dict[str, Any]


def read_contract(directory: Path) -> Contract:
    """What the model of a directory says of itself; its archive is not looked at. Raises RegistryError."""
    with loadable(directory):
        return Contract.model_validate_json((directory / CONTRACT).read_bytes())


@contextmanager
def loadable(directory: Path) -> Iterator[None]:
    """Whatever a broken file makes its readers raise is one clear error."""
    try:
        yield
    except Exception as error:
        raise RegistryError(
            f"is not a model that may be loaded ({' '.join(str(error).split())})",
            subject=str(directory),
            remedy="Train it again, or roll back to a version that stands",
        ) from error
