"""A model's contract: its inputs and its origin. Reading one imports no library that would be needed to load the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime

from ratchet.core.errors import RegistryError
from ratchet.core.frozen import Frozen
from ratchet.models.model_files import CONTRACT
from ratchet.use_case.contract import Kind, Task


class Contract(Frozen):
    """The inputs and the origin of a model. No label that became known at or after `trained_until` was used.

    `data_version` is the frozen dataset that it was fitted on, and `features_version` the features from which this dataset was
    made; both are DVC's names of a directory.
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
    """The contract of the model in a directory, without reading its archive. Raises RegistryError if it cannot be read."""
    with loadable(directory):
        return Contract.model_validate_json((directory / CONTRACT).read_bytes())


@contextmanager
def loadable(directory: Path) -> Iterator[None]:
    """Raises RegistryError in place of any exception that a broken file of the model causes in the block."""
    try:
        yield
    except Exception as error:
        raise RegistryError(
            f"is not a model that may be loaded ({' '.join(str(error).split())})",
            subject=str(directory),
            remedy="Train it again, or roll back to another version",
        ) from error
