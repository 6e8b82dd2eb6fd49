"""The loader finds out what serves, verifies it, and writes it as a release, which serving processes map.

It alone needs MLflow, and the libraries of training. While it is away, serving processes go on with the release that they have.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from inference_pipeline.online.release import (
    BASELINE,
    MODEL,
    RELEASE,
    Release,
    ReleasedModel,
    checksums,
    read_release,
    serving_code,
)
from inference_pipeline.online.release_folder import Current, ReleaseFolder
from inference_pipeline.online.requests import column_kinds
from ratchet.core.errors import DataError, GateError, OtherFeaturesError, RatchetError, UnavailableError
from ratchet.feature_store.feature_store import feast_project
from ratchet.feature_store.stored_views import stored_lookups, stored_views
from ratchet.features.service import request_schema
from ratchet.gate.signing import SigningKey
from ratchet.model_registry.admission import computes_features, load_champion
from ratchet.model_registry.champion import Champion, champion_version, reference_of
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.compiled.compiled_model import load_compiled, write_compiled
from ratchet.models.compiled.golden import golden_rows
from ratchet.models.contract import Contract
from ratchet.models.model_files import ARCHIVE, CONTRACT, REFERENCE
from ratchet.project.run import Run
from ratchet.storage.digests import digest
from ratchet.storage.files import replacing

logger = logging.getLogger(__name__)


class Loader:
    """Keeps the releases of a use case up to date. Call `refresh` every few seconds."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._releases = ReleaseFolder.of(run)
        self._logged = ""

    def refresh(self) -> None:
        """Make a release of what serves now, if reconcile announced something else since the last time.

        If the registry does not answer, or refuses what serves, the last accepted release stays, and the problem is said. If no
        model was promoted, there is none. Whatever else fails is logged, and tried again by the next call.
        """
        try:
            announced, said = self._releases.announced(), self._releases.current()
            if said.problem or said.examined != announced:
                said = self._examine(announced, said)
            self._releases.say(said)
        except Exception as error:  # noqa: BLE001 - raising would end the polling; workers notice that nothing is said
            self._log(str(error))

    def _examine(self, announced: str, said: Current) -> Current:
        try:
            release = write_release(self._run, self._releases)
        except UnavailableError as error:
            return said.model_copy(update={"problem": self._log(str(error))})
        except RatchetError as error:
            kept = said.release if self._is_promoted() else None
            return Current(release=kept, examined=announced, problem=self._log(str(error)))
        self._releases.tidy(release)
        return Current(release=release, examined=announced)

    def _is_promoted(self) -> bool:
        try:
            return champion_version(ModelRegistry.open(self._run)) is not None
        except UnavailableError:
            return True

    def _log(self, problem: str) -> str:
        """Log a problem when it is a new one, and return it."""
        if problem != self._logged:
            logger.warning("%s: no release was made: %s", self._run.scope.namespace, problem)
        self._logged = problem
        return problem


def write_release(run: Run, releases: ReleaseFolder) -> str:
    """Write the release of the champion, unless there is one; returns its name.

    Raises RegistryError or GateError if no model may serve, and UnavailableError if the registry does not answer.
    """
    store = ModelRegistry.open(run)
    champion = _load_champion(store)
    baseline = reference_of(store, champion)
    if baseline and not computes_features(store, baseline.model.contract):
        baseline = None
    models = {MODEL: champion, **({BASELINE: baseline} if baseline else {})}
    folder, key = releases.folder(_name(run, models)), SigningKey.open(run)
    if not _is_whole(folder, key, run):
        with replacing(folder) as temporary:
            released = {place: _write_model(temporary / place, each) for place, each in models.items()}
            release = described(run, champion.model.contract, released, checksums(temporary))
            (temporary / RELEASE).write_text(key.sign(release).model_dump_json(indent=2) + "\n", encoding="utf-8")
    os.utime(folder)  # the latest ones are kept
    return folder.name


def _load_champion(store: ModelRegistry) -> Champion:
    """The champion. If it needs other features than this process computes, the code may have changed since it started."""
    try:
        return load_champion(store)
    except OtherFeaturesError as error:
        again = "Start the service again if the code was changed since it began. Otherwise: "
        raise OtherFeaturesError(error.problem, subject=error.subject, remedy=again + error.remedy) from error


def _name(run: Run, models: Mapping[str, Champion]) -> str:
    """Another name for other models, and for other code that serves them."""
    versions = "-".join(f"{place[0]}{each.version}" for place, each in models.items())
    return f"{versions}-{digest(serving_code(run.use_case), [each.model.digest for each in models.values()])[:12]}"


def _is_whole(folder: Path, key: SigningKey, run: Run) -> bool:
    try:
        read_release(folder, key, run.use_case)
    except (GateError, OSError):
        return False
    return True


def _write_model(folder: Path, loaded: Champion) -> ReleasedModel:
    """Write a model in its compiled form; if it has none that agrees with it, as scikit-learn's own pipeline."""
    folder.mkdir()
    model, problem = loaded.model, ""
    golden = golden_rows(pq.read_table(loaded.directory / REFERENCE), model.contract.inputs)
    try:
        write_compiled(folder, model.pipeline, golden, model.numbers(golden))
        load_compiled(folder)
    except DataError as error:
        problem = str(error)
        logger.warning("version %d is served by scikit-learn: %s", loaded.version, error)
        for name in (ARCHIVE, CONTRACT):
            (folder / name).write_bytes((loaded.directory / name).read_bytes())
    return ReleasedModel(
        version=loaded.version,
        digest=model.digest,
        feature_service=model.contract.feature_service,
        not_compiled=problem,
    )


def described(run: Run, contract: Contract, released: Mapping[str, ReleasedModel], files: Mapping[str, str]) -> Release:
    """The unsigned description of a release of the models in `released`, MODEL and perhaps BASELINE."""
    use_case = run.use_case
    return Release(
        use_case=use_case.name,
        model_name=contract.model_name,
        task=contract.task,
        champion=released[MODEL],
        baseline=released.get(BASELINE),
        inputs=contract.inputs,
        code=serving_code(use_case),
        feast_project=feast_project(run.scope),
        views=tuple(stored_views(use_case)),
        lookups=tuple(stored_lookups(use_case)),
        columns=column_kinds(request_schema(use_case)),
        keys=tuple(sorted({column for lookup in use_case.lookups for column in lookup.keys.values()})),
        files=dict(files),
    )
