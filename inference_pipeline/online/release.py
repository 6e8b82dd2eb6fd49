"""A release: all that a serving process needs of a model, in one folder, signed by the process that verified the model.

Whoever serves a release needs neither MLflow nor Feast nor scikit-learn. `release.json` names and describes everything, and
holds the checksums of the other files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, ValidationError

from inference_pipeline.online.instances import ColumnKind
from ratchet.core.errors import GateError, OtherFeaturesError
from ratchet.core.frozen import Frozen
from ratchet.feature_store.online_features import StoredLookup
from ratchet.feature_store.stored_rows import StoredView
from ratchet.features.on_demand import function_fingerprint
from ratchet.gate.signing import Signed, SigningKey
from ratchet.storage.digests import digest
from ratchet.use_case.contract import Task, UseCase

RELEASE = "release.json"
MODEL, BASELINE, CHALLENGER = "model", "baseline", "challenger"
"""The folders of a release's models."""
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class ReleasedModel(Frozen):
    """A version of the registered model. Without a compiled form, scikit-learn has to serve it, for the reason given."""

    version: int
    digest: Digest
    feature_service: str
    not_compiled: str = ""


class Release(Signed):
    """A champion with the baseline that answers when features cannot be used, and with a challenger, if there are any.

    `inputs` are the columns that the model gets. `code` is a digest of the code that a serving process adds: see
    `serving_code`. `columns` are those of a stored request, and `keys` the ones that lookups use. `feast_project` is the name
    under which the online store holds the views.
    """

    use_case: str
    model_name: str
    task: Task
    champion: ReleasedModel
    baseline: ReleasedModel | None
    challenger: ReleasedModel | None
    inputs: dict[str, ColumnKind]
    code: Digest
    feast_project: str
    views: tuple[StoredView, ...]
    lookups: tuple[StoredLookup, ...]
    columns: dict[str, ColumnKind]
    keys: tuple[str, ...]
    files: dict[str, Digest]

    @property
    def versions(self) -> list[str]:
        """The versions that callers may ask for: the champion, and then the challenger if there is one."""
        return [str(each.version) for each in (self.champion, self.challenger) if each]


def read_release(folder: Path, key: SigningKey, use_case: UseCase) -> Release:
    """The release in a folder, verified. Raises GateError if it was edited, or OtherFeaturesError if it was made with other
    code than this process runs, and OSError if it cannot be read."""
    try:
        release = Release.model_validate_json((folder / RELEASE).read_bytes())
    except ValidationError as error:
        raise _refused(folder, f"is no release ({error.error_count()} wrong fields)") from error
    key.verify(release, "Remove the folder: the loader makes it again")
    if release.files != checksums(folder):
        raise _refused(folder, "its files are not those that were signed")
    if release.code != serving_code(use_case):
        raise OtherFeaturesError(
            "was made with other code of the use case than this process runs",
            subject=str(folder),
            remedy="Start the service again",
        )
    return release


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a release but its description."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RELEASE)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@cache
def serving_code(use_case: UseCase) -> str:
    """A digest of all that a serving process runs of a use case: its request model, constants, `on_demand` and `postprocess`.

    It is computed once, so that it is about the code that was imported and not about a file that was edited later.
    """
    functions: tuple[Callable[..., Any], ...] = (use_case.on_demand, use_case.postprocess)
    return digest(
        use_case.name,
        use_case.request.model_json_schema(),
        use_case.event_timestamp,
        dict(use_case.constants),
        *(function_fingerprint(name, each) for name, each in zip(("on_demand", "postprocess"), functions, strict=True)),
    )


def _refused(folder: Path, problem: str) -> GateError:
    return GateError(problem, subject=str(folder), remedy="Remove the folder: the loader makes it again")
