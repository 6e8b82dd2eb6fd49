"""Write a release: a verified champion in its compiled form, and everything else that serving processes need.

This needs MLflow, and the libraries of training.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from inference_pipeline.online.instances import ColumnKind
from inference_pipeline.online.release import (
    BASELINE,
    CHALLENGER,
    MODEL,
    RELEASE,
    Release,
    ReleasedModel,
    checksums,
    read_release,
    serving_code,
)
from inference_pipeline.online.release_folder import ReleaseFolder
from inference_pipeline.online.requests import column_kinds
from ratchet.core.errors import DataError, GateError, OtherFeaturesError, RatchetError, UnavailableError
from ratchet.feature_store.online_store import feast_project
from ratchet.feature_store.stored_views import stored_lookups, stored_views
from ratchet.features.service import request_schema
from ratchet.gate.rollout import Rollout
from ratchet.gate.signing import SigningKey
from ratchet.model_registry.admission import computes_features, load_champion
from ratchet.model_registry.champion import Champion, reference_of
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.rollout import load_challenger, running
from ratchet.models.compiled.compiled_model import load_compiled, write_compiled
from ratchet.models.compiled.golden import golden_rows
from ratchet.models.model_files import ARCHIVE, CONTRACT, REFERENCE
from ratchet.project.run import Run
from ratchet.storage.arrow import to_columns
from ratchet.storage.digests import digest
from ratchet.storage.files import replacing

logger = logging.getLogger(__name__)


def write_release(run: Run, releases: ReleaseFolder) -> tuple[str, Rollout | None]:
    """Write the release of the champion, unless there is one; returns its name, and the rollout that goes on with it.

    Raises RegistryError or GateError if no model may serve, and UnavailableError if the registry does not answer.
    """
    store = ModelRegistry.open(run)
    models = serving_models(store)
    rollout, challenger = _load_challenger(store, models[MODEL])
    if challenger:
        models[CHALLENGER] = challenger
    return write_models(run, releases, models), rollout


def serving_models(store: ModelRegistry) -> dict[str, Champion]:
    """The champion, and the baseline that answers when features cannot be used, if there is one. Raises as `write_release`."""
    champion = _load_champion(store)
    baseline = reference_of(store, champion)
    if baseline and not computes_features(store, baseline.model.contract):
        baseline = None
    return {MODEL: champion, **({BASELINE: baseline} if baseline else {})}


def write_models(run: Run, releases: ReleaseFolder, models: Mapping[str, Champion]) -> str:
    """Write the release of these models, unless there is one, and return its name."""
    folder, key = releases.folder(_name(run, models)), SigningKey.open(run)
    if not _is_whole(folder, key, run):
        with replacing(folder) as temporary:
            released = {place: _write_model(temporary / place, each) for place, each in models.items()}
            release = described(run, models[MODEL], released, checksums(temporary))
            (temporary / RELEASE).write_text(key.sign(release).model_dump_json(indent=2) + "\n", encoding="utf-8")
    os.utime(folder)  # the latest ones are kept
    return folder.name


def _load_challenger(store: ModelRegistry, champion: Champion) -> tuple[Rollout | None, Champion | None]:
    """The rollout beside the champion, and its challenger: None if that may not answer. Then the champion goes on alone."""
    rollout = running(store)
    if rollout is None or rollout.champion != champion.model.digest:
        return None, None
    try:
        return rollout, load_challenger(store, rollout)
    except UnavailableError:
        raise
    except RatchetError as error:
        logger.warning("version %d is not rolled out: %s", rollout.version, error)
        return rollout, None


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


def described(run: Run, champion: Champion, released: Mapping[str, ReleasedModel], files: Mapping[str, str]) -> Release:
    """The unsigned description of a release of the models in `released`, of which MODEL is one."""
    use_case, contract = run.use_case, champion.model.contract
    return Release(
        use_case=use_case.name,
        model_name=contract.model_name,
        task=contract.task,
        champion=released[MODEL],
        baseline=released.get(BASELINE),
        challenger=released.get(CHALLENGER),
        inputs=_input_kinds(champion),
        code=serving_code(use_case),
        feast_project=feast_project(run.scope),
        views=tuple(stored_views(use_case)),
        lookups=tuple(stored_lookups(use_case)),
        columns=column_kinds(request_schema(use_case)),
        keys=tuple(sorted({column for lookup in use_case.lookups for column in lookup.keys.values()})),
        files=dict(files),
    )


def _input_kinds(champion: Champion) -> dict[str, ColumnKind]:
    """Each input of a model as it was in training: a text, or a number."""
    rows = to_columns(pq.read_schema(champion.directory / REFERENCE).empty_table())
    return {name: "string" if rows[name].dtype == object else "double" for name in champion.model.contract.inputs}
