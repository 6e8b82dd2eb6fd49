"""The opened model registry: one registered model per namespace, with its versions and aliases, stored by MLflow.

A version is valid if it has the digest of its model. MLflow stores the digest together with the version, after everything else
of it. A killed process leaves a run without a version; that run is marked as killed, and the model is logged again.

Reading aliases and history needs no model: sklearn and LightGBM are imported only when a model is loaded or logged.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ratchet.core.errors import GateError, RegistryError
from ratchet.gate.record import GateRecord, Waiver
from ratchet.gate.refit import Record, RefitRecord, verify
from ratchet.gate.signing import Signed
from ratchet.model_registry import embedded_database
from ratchet.model_registry.logged_files import is_whole, require_artifacts
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion_history import REQUEST, PromotionRequest, Snapshot
from ratchet.model_registry.signed_tags import parsed
from ratchet.model_registry.tags import DIGEST, RECORD, REQUESTED, WAIVER
from ratchet.model_registry.version import Version, version_of
from ratchet.models.model_files import checksums

if TYPE_CHECKING:
    from ratchet.models.model import Model

ABSENT = "RESOURCE_DOES_NOT_EXIST"


class RegistrySession:
    """The registered model, opened. Every method may raise exceptions of MLflow; `open_registry` translates them.

    An embedded registry that never existed is read as an empty one, unless `create`.
    """

    def __init__(self, store: ModelRegistry, *, create: bool = False) -> None:
        self.store = store
        self.name = store.scope.namespace
        self._exists = self._find(create)

    def _find(self, create: bool) -> bool:
        is_a_file = embedded_database.is_a_file(self.store)
        found = embedded_database.exists(self.store) if is_a_file else True
        if create:
            if not found:
                embedded_database.create(self.store)
            embedded_database.mark(self.store)
        elif not found:
            return False
        if is_a_file:
            embedded_database.follow_move(self.store)
        return True

    @cached_property
    def _uri(self) -> str:
        if not self._exists:
            raise RegistryError(
                "nothing was registered yet", subject=f"model {self.name}", remedy=f"Run `{self._how_to_register()}`"
            )
        return embedded_database.tracking_uri(self.store)

    @cached_property
    def _client(self) -> MlflowClient:
        return MlflowClient(self._uri, registry_uri=self._uri)

    def aliases(self) -> dict[str, int]:
        """Alias → version; empty if nothing was registered yet."""
        return self._aliases_and_tags()[0]

    def snapshot(self) -> Snapshot:
        return Snapshot.read(*self._aliases_and_tags(), self.store.gate)

    def _aliases_and_tags(self) -> tuple[dict[str, int], Mapping[str, str]]:
        if not self._exists:
            return {}, {}
        try:
            found = self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != ABSENT:
                raise
            return {}, {}
        return {alias: int(number) for alias, number in found.aliases.items()}, found.tags

    def versions(self) -> dict[int, Version]:
        """Number → version, including versions that were made by hand."""
        if not self._exists:
            return {}
        found = self._client.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        versions = sorted((version_of(version) for version in found), key=lambda version: version.number)
        return {version.number: version for version in versions}

    def version(self, number: int) -> Version:
        """The version of this number. Raises RegistryError if there is none."""
        versions = self.versions()
        if number not in versions:
            raise RegistryError(
                f"there is no version {number}, only {', '.join(map(str, versions)) or 'an empty registry'}",
                subject=f"model {self.name}",
                remedy="Name one that `ratchet status` lists"
                if versions
                else f"Run `{self._how_to_register()}`, which makes versions 1 and 2",
            )
        return versions[number]

    def find(self, digest: str) -> Version | None:
        return next((version for version in self.versions().values() if version.digest == digest), None)

    def log(self, model: Model, directory: Path, record: Record) -> Version:
        """The version of the model in `directory`; it is created if it does not exist. May be killed and called again.

        Files and record of a version that has answered are evidence: they are kept, and only put back if they were lost. Those
        of any other version are replaced by the given ones.
        """
        from ratchet.model_registry import mlflow_logging

        found = self.find(model.digest)
        is_evidence = found is not None and found.number in self.snapshot().evidence
        if found is None:
            mlflow_logging.log(self._client, self.store, model, directory, record)
        elif is_evidence:
            self._put_back(found, model, directory, record)
        else:
            self._tag(found, mlflow_logging.log_again(self._client, found, model, directory, record))
        version = self.find(model.digest)
        assert version is not None
        if not is_evidence:
            mlflow_logging.describe(self._client, self.store, version, record, model.contract)
        self._close_runs(version)
        return version

    def _put_back(self, version: Version, model: Model, directory: Path, record: Record) -> None:
        """Put back the record of a version, and the files that the record names, if they were lost and are the same here."""
        from ratchet.model_registry import mlflow_logging

        version = self.complete(version)
        if self.holds(version):
            return
        if mlflow_logging.record_name(record) == version.tags.get(RECORD):
            self._tag(version, mlflow_logging.log_again(self._client, version, model, directory, record))
        elif checksums(directory) == self.record(version).files:
            self._tag(version, mlflow_logging.log_files(self._client, version, model, directory))

    def complete(self, version: Version) -> Version:
        """The version. Files of its model that MLflow lost are put back from the copy under state/, if that has the files that
        the record names."""
        if is_whole(version, self._uri):
            return version
        try:
            model, directory = self.model(version, self.record(version))
        except (GateError, RegistryError):
            return version
        from ratchet.model_registry import mlflow_logging

        self._tag(version, mlflow_logging.log_files(self._client, version, model, directory))
        return self.versions()[version.number]

    def holds(self, version: Version) -> bool:
        """Whether a version's record and files exist as they were judged, with all files that MLflow needs to load it."""
        try:
            record = self.record(version)
            verify(record, version.digest, self.store.gate)
            self.files(version, record)
        except (GateError, RegistryError):
            return False
        return is_whole(version, self._uri)

    def _close_runs(self, version: Version) -> None:
        """Finish the version's run, and mark other open runs of this model as killed."""
        experiment = self._client.get_experiment_by_name(self.name).experiment_id
        is_open = f"tags.`{DIGEST}` = '{version.digest}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([experiment], is_open):
            own = run.info.run_id == version.run_id
            self._client.set_terminated(run.info.run_id, "FINISHED" if own else "KILLED")

    def record(self, version: Version) -> Record:
        """The stored record, unverified. Raises GateError if there is none that can be read."""
        try:
            text = self._record_text(version)
            record = parsed(GateRecord, text) or parsed(RefitRecord, text)
        except MlflowException as error:
            if error.error_code != ABSENT:
                raise
            record = None  # the version was made by hand, and its run does not exist
        if record is None:
            raise self.refusal(version, "holds no gate record")
        return record

    def _record_text(self, version: Version) -> bytes:
        self._require_artifacts(version)
        path = f"gate/{version.tags.get(RECORD)}.json"
        if path not in [file.path for file in self._client.list_artifacts(version.run_id, "gate")]:
            return b""
        with TemporaryDirectory() as folder:
            return Path(self._client.download_artifacts(version.run_id, path, folder)).read_bytes()

    def _require_artifacts(self, version: Version) -> None:
        """Raises RegistryError if the folder with all versions' artifacts is away: then nothing is known about this version."""
        experiment = self._client.get_run(version.run_id).info.experiment_id
        location = self._client.get_experiment(experiment).artifact_location
        require_artifacts(self.store, location, f"{self.name} version {version.number}")

    def waiver(self, version: Version) -> Waiver | None:
        return parsed(Waiver, version.tags.get(WAIVER))

    def model(self, version: Version, record: Record) -> tuple[Model, Path]:
        """The model that was judged, and its directory. No file is parsed before it was compared with the verified record.

        Raises GateError if the record is not valid, or if the model's files are lost or different.
        """
        from ratchet.models.model import load

        verify(record, version.digest, self.store.gate)
        directory = self.files(version, record)
        try:
            model = load(directory, self.store.use_case)
        except RegistryError as error:
            raise self.refusal(version, error.problem) from error
        if model.digest != version.digest:
            raise self.refusal(version, "is another model when it is loaded by the libraries that are installed")
        return model, directory

    def files(self, version: Version, record: Record) -> Path:
        """A directory under state/ with a copy of the files that the record names; no file is parsed.

        Raises GateError if the files are lost or different.
        """
        directory = self.store.paths.state / "models" / version.digest
        if checksums(directory) != record.files:
            self._download(version, record, directory)
        return directory

    def _download(self, version: Version, record: Record, directory: Path) -> None:
        """Download the model's files, and keep them if they are the ones that the record names."""
        from mlflow.artifacts import download_artifacts, list_artifacts

        directory.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory.parent) as folder:
            copy = Path(folder)
            if list_artifacts(artifact_uri=version.source, tracking_uri=self._uri):
                copy = Path(download_artifacts(artifact_uri=version.source, dst_path=folder, tracking_uri=self._uri))
            if checksums(copy) != record.files:
                raise self.refusal(version, "no longer holds the files that were judged")
            shutil.rmtree(directory, ignore_errors=True)
            copy.replace(directory)

    def refusal(self, version: Version, problem: str) -> GateError:
        return GateError(
            problem,
            subject=f"{self.name} version {version.number}",
            remedy="Ask for another version that `ratchet status` lists. To offer the models that were trained last again, "
            f"run `ratchet --use-case {self.store.scope.use_case} stage register`. If one of them has served, it also gets "
            "back what it lost",
        )

    def _how_to_register(self) -> str:
        return f"dvc repro register@{self.store.scope.use_case}"

    def _tag(self, version: Version, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self.tag(version, key, value)

    def tag(self, version: Version, key: str, value: str) -> None:
        if version.tags.get(key) != value:
            self._client.set_model_version_tag(self.name, str(version.number), key, value)

    def point(self, alias: str, number: int | None, snapshot: Snapshot) -> None:
        """Move an alias to a version, or delete it (None). Does nothing if the snapshot shows it there already."""
        current = snapshot.aliases.get(alias)
        if number is not None and number != current:
            self._client.set_registered_model_alias(self.name, alias, str(number))
        elif number is None and current is not None:
            self._client.delete_registered_model_alias(self.name, alias)

    def request(self, number: int, by: str, reason: str, *, by_policy: bool = False) -> None:
        """Request a version, with a signed name and reason: anyone can move the alias alone."""
        snapshot = self.snapshot()
        request = PromotionRequest(
            model_name=self.name,
            version=number,
            by=by,
            by_policy=by_policy,
            reason=reason,
            after=len(snapshot.history),
        )
        self.write(REQUEST, self.store.gate.key.sign(request))
        self.point(REQUESTED, number, snapshot)

    def write(self, tag: str, document: Signed) -> None:
        """Write a signed document in a tag of the registered model, by a single request."""
        self._client.set_registered_model_tag(self.name, tag, document.model_dump_json())
