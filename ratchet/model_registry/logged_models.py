"""Every model that MLflow holds, whether its version was deleted or not, and the removal of those that nothing needs.

A version can be deleted in MLflow while its run and artifacts stay. What is removed goes to MLflow's trash first. If the
registry is embedded, `mlflow gc` then empties the trash; elsewhere, that is up to those who run the server or database.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path

from ratchet.core.errors import RegistryError, RegistryUnavailableError
from ratchet.core.progress import counted
from ratchet.core.text import one_line
from ratchet.model_registry import embedded_database
from ratchet.model_registry.logged_files import require_artifacts
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.open_registry import open_registry
from ratchet.model_registry.session import ABSENT
from ratchet.model_registry.tags import DATA_VERSION, DIGEST, FEATURES_VERSION
from ratchet.storage.files import write_text

_PAGE = 1000
_LOCK = "versions/dvc.lock"


@dataclass(frozen=True)
class LoggedModel:
    """A run of MLflow in which a model was logged. `folders` have its artifacts, if they are on this machine. `data` are DVC's
    names of the data that it was made from, and `lock` is the text of the dvc.lock of that time, if there was one."""

    name: str
    run_id: str
    digest: str
    version: int | None
    is_trash: bool
    folders: tuple[Path, ...]
    data: tuple[str, ...]
    lock: str | None = field(repr=False)


def logged_models(store: ModelRegistry) -> list[LoggedModel]:
    """The models of every use case that the registry holds, and those in its trash if it is embedded.

    Raises RegistryError if the run of a version is in a trash that will be emptied, RegistryUnavailableError if the registry or
    its artifacts cannot be read.
    """
    if embedded_database.is_a_file(store) and not embedded_database.exists(store):
        return []
    with open_registry(store, "promotion"):
        client = _client(store)
        names = {store.scope.namespace, *(found.name for found in client.search_registered_models(max_results=_PAGE))}
        return [model for name in sorted(names) for model in _models(client, store, name)]


def remove(store: ModelRegistry, unneeded: Sequence[LoggedModel]) -> None:
    """Remove models of this registry and their versions. May be killed at any point and called again.

    Raises RegistryError, before anything is removed, if anybody asked for one of them meanwhile.
    """
    with open_registry(store, "promotion") as registry:
        client, snapshot = _client(store), registry.snapshot()
        _require_unwanted(unneeded, {*snapshot.aliases.values(), *snapshot.served})
        write_text(_trash(store), "")
        for model in counted(unneeded, "models", len(unneeded)):
            _remove(client, model)
            shutil.rmtree(store.paths.state / "models" / model.digest, ignore_errors=True)
    if not store.address:
        _empty_trash(embedded_database.tracking_uri(store))
    _trash(store).unlink()


def has_trash(store: ModelRegistry) -> bool:
    """Whether a removal was killed before MLflow's trash was empty. What is left of its models there is no run any more."""
    return _trash(store).exists()


def _trash(store: ModelRegistry) -> Path:
    """A file that is there while models are removed."""
    return store.paths.state / "removing_models"


def _require_unwanted(unneeded: Iterable[LoggedModel], wanted: Container[int | None]) -> None:
    for model in unneeded:
        if model.version in wanted:
            raise RegistryError(
                "was asked for a moment ago",
                subject=f"{model.name} version {model.version}",
                remedy="Run again, which keeps it",
            )


def _client(store: ModelRegistry) -> MlflowClient:
    uri = embedded_database.tracking_uri(store)
    return MlflowClient(uri, registry_uri=uri)


def _models(client: MlflowClient, store: ModelRegistry, name: str) -> Iterator[LoggedModel]:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return
    versions = {found.run_id: found for found in client.search_model_versions(f"name = '{name}'")}
    runs = [run for run in _runs(client, experiment.experiment_id) if run.data.tags.get(DIGEST)]
    if runs:
        require_artifacts(store, experiment.artifact_location, f"model {name}")
    for run in counted(runs, f"models of {name}", len(runs)):
        model = _model(client, name, run, versions.get(run.info.run_id))
        if model.is_trash and model.version is not None and not store.address:
            raise _deleted(model)
        if not (model.is_trash and model.version is None and store.address):
            yield model


def _deleted(model: LoggedModel) -> RegistryError:
    return RegistryError(
        f"its run {model.run_id} is in MLflow's trash, which would be emptied",
        subject=f"{model.name} version {model.version}",
        remedy=f"Restore it (`mlflow runs restore --run-id {model.run_id}`), or delete the version, too",
    )


def _runs(client: MlflowClient, experiment: str) -> Iterator[MlflowRun]:
    token = None
    while True:
        page = client.search_runs([experiment], run_view_type=ViewType.ALL, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _model(client: MlflowClient, name: str, run: MlflowRun, version: ModelVersion | None) -> LoggedModel:
    run_id, tags = run.info.run_id, run.data.tags
    places = [run.info.artifact_uri, *([version.source] if version else [])]
    return LoggedModel(
        name=name,
        run_id=run_id,
        digest=tags[DIGEST],
        version=int(version.version) if version else None,
        is_trash=run.info.lifecycle_stage == LifecycleStage.DELETED,
        folders=tuple(Path(local_file_uri_to_path(place)) for place in places if place.startswith("file:")),
        data=tuple(tags[tag] for tag in (DATA_VERSION, FEATURES_VERSION) if tags.get(tag)),
        lock=_lock(client, run_id),
    )


def _lock(client: MlflowClient, run_id: str) -> str | None:
    if _LOCK not in [file.path for file in client.list_artifacts(run_id, str(Path(_LOCK).parent))]:
        return None
    with TemporaryDirectory() as temporary:
        return Path(client.download_artifacts(run_id, _LOCK, temporary)).read_text(encoding="utf-8")


def _remove(client: MlflowClient, model: LoggedModel) -> None:
    """Delete the version first: without it, another call finds the rest."""
    if model.version is not None:
        client.delete_model_version(model.name, str(model.version))
    run = client.get_run(model.run_id)
    for output in run.outputs.model_outputs if run.outputs else ():
        try:
            client.delete_logged_model(output.model_id)
        except MlflowException as error:
            if error.error_code != ABSENT:
                raise
    if run.info.lifecycle_stage == LifecycleStage.ACTIVE:
        client.delete_run(model.run_id)


def _empty_trash(uri: str) -> None:
    """Run `mlflow gc`, in a process of its own, because it sets the tracking URI of its process."""
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RegistryUnavailableError(
            f"failed ({one_line(done.stderr[-300:])})", subject="mlflow gc", remedy="Fix what it names, and run again"
        )
