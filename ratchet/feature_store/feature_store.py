"""The feature store of a scope: features as of a time in the offline store, as of now in the online store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.core.environment import Environment
from ratchet.core.errors import StoreError, StoreUnavailableError
from ratchet.core.scope import Scope
from ratchet.feature_store.online_store import OnlineStore, feast_project, online_store
from ratchet.feature_store.point_in_time_join import DatedRows, Rows
from ratchet.features.extent import read_extent
from ratchet.features.service import service_spec
from ratchet.features.upstream_registration import Register
from ratchet.storage.digests import directory_md5
from ratchet.use_case.contract import UseCase

if TYPE_CHECKING:
    from ratchet.project.run import Run


@dataclass(frozen=True)
class FeatureStore:
    """Everything that is needed to apply, write and read the features of a use case.

    `offline` holds views/, requests/ and labels/ as Parquet by UTC date or month. The rows of upstream views are in the files
    of other systems; `upstream` is the register of these. `databases` is the folder of the registry and the online store,
    unless `environment` names others. Feast keeps paths relative to its own folder, `repo`, so that a checkout may be moved.
    """

    scope: Scope
    use_case: UseCase
    environment: Environment
    offline: Path
    upstream: Register
    databases: Path
    repo: Path

    @classmethod
    def open(cls, run: Run) -> FeatureStore:
        """The feature store of a run's use case; it need not have been applied yet."""
        paths = run.paths
        repo = run.root / "feature_repo"
        return cls(run.scope, run.use_case, run.environment, paths.features, Register.open(run), paths.state, repo)

    @property
    def online(self) -> OnlineStore:
        """The online store; it need not exist."""
        return online_store(self.environment, self.databases, feast_project(self.scope))

    def rows(self, view: str) -> Rows:
        """The rows of a view in the offline store."""
        spec = service_spec(self.use_case)
        return self.upstream.views.get(view) or DatedRows(self.offline / "views" / spec.views[view], spec.schemas[view])

    def require(self, instant: datetime, since: datetime | None = None) -> None:
        """Raises StoreUnavailableError unless the features were computed up to `instant`: a feature run may be late. Raises
        StoreError if those after `since` are not kept any more, or if another system restated what was registered of its
        features."""
        found = read_extent(self.offline)
        if found is None or found.end < instant:
            raise StoreUnavailableError(
                f"go up to {found.end.isoformat() if found else 'no instant'}, and {instant.isoformat()} is needed",
                subject=f"the features of {self.scope.namespace}",
                remedy=f"Let the feature flow run, or run `dvc repro materialize@{self.scope.use_case}`; first, if "
                f"as_of.yaml is behind, `ratchet advance {self.scope.use_case} --pipeline feature --to {instant.isoformat()}`",
            )
        if since and since < found.start:
            raise StoreError(
                f"are kept from {found.start.isoformat()} on, and those from {since.isoformat()} on are needed",
                subject=f"the features of {self.scope.namespace}",
                remedy=f"Advance, or set retention.features in params.yaml to more days and run `dvc repro "
                f"featurize@{self.scope.use_case}`",
            )
        self.upstream.require()

    def version(self) -> str:
        """DVC's name for the present content of features, requests and labels. Raises StoreError if there are none."""
        if not self.offline.is_dir():
            raise StoreError("is not there", subject=str(self.offline), remedy="Run `dvc repro featurize`")
        return directory_md5(self.offline)
