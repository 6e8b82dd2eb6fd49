"""The files and folders of a checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ratchet.core.scope import Scope


@dataclass(frozen=True)
class Paths:
    """The files and folders of a scope in the checkout at `root`; they need not exist."""

    root: Path
    scope: Scope

    @property
    def data(self) -> Path:
        return self.root / "data" / self.scope.folder

    @property
    def raw(self) -> Path:
        """raw/{table}/{batch}.parquet, as delivered, in canonical types."""
        return self.data / "raw"

    @property
    def deliveries(self) -> Path:
        """deliveries/{table}/{batch}/: the versions of a batch that was delivered again with changes."""
        return self.data / "deliveries"

    @property
    def accepted(self) -> Path:
        """accepted/{table}/date=…/{batch}.parquet; reference tables without a date, late rows with two (`date=…,…`)."""
        return self.data / "accepted"

    @property
    def quarantine(self) -> Path:
        """quarantine/{table}/{batch}.parquet: rejected rows with `reasons`, and a record of the batch as metadata."""
        return self.data / "quarantine"

    @property
    def readmissions(self) -> Path:
        """The decisions of people about quarantined rows and refused batches."""
        return self.data / "readmissions.json"

    @property
    def gaps(self) -> Path:
        """The batches that are missing although later ones are there, with their periods: written by ingest."""
        return self.data / "gaps.json"

    @property
    def features(self) -> Path:
        """views/{view}/, requests/ and labels/, each by UTC date, and by month longer ago: the offline store."""
        return self.data / "features"

    @property
    def dataset(self) -> Path:
        """dataset/: the frozen rows on which a training run fits and judges models."""
        return self.data / "dataset"

    @property
    def dataset_provenance(self) -> Path:
        """The version of dataset/, and of the features that it was taken from."""
        return self.data / "dataset_provenance.json"

    @property
    def evaluation(self) -> Path:
        """evaluation/: what else `evaluate` needs from the feature store, frozen together with the dataset."""
        return self.data / "evaluation"

    @property
    def models(self) -> Path:
        """models/baseline/ and models/candidate/: trained models, before they are registered."""
        return self.data / "models"

    @property
    def gate(self) -> Path:
        """gate/baseline.json and gate/candidate.json: signed gate records."""
        return self.data / "gate"

    @property
    def refit(self) -> Path:
        """refit/: a superior candidate, fitted again on all mature rows, with its signed record. Empty if there is none."""
        return self.data / "refit"

    @property
    def refit_model(self) -> Path:
        return self.refit / "model"

    @property
    def refit_record(self) -> Path:
        return self.refit / "record.json"

    @property
    def confirmation(self) -> Path:
        """How the refit that serves did on rows that came after it; absent if no refit serves."""
        return self.gate / "confirmation.json"

    @property
    def predictions(self) -> Path:
        """Batch half of the prediction log: date=…/{part}.parquet."""
        return self.data / "predictions"

    @property
    def reports(self) -> Path:
        return self.root / "reports" / self.scope.folder

    @property
    def data_docs(self) -> Path:
        """Great Expectations' pages about batches: open index.html."""
        return self.reports / "data_docs"

    @property
    def shared_reports(self) -> Path:
        """Reports of the use case that was summarised last."""
        return self.root / "reports"

    @property
    def shared_state(self) -> Path:
        """Databases, keys and locks of the whole checkout; never versioned."""
        return self.root / "state"

    @property
    def state(self) -> Path:
        """Databases and markers of this use case and source; never versioned by DVC."""
        return self.shared_state / self.scope.folder

    @property
    def downloads(self) -> Path:
        """Copies of what the source has elsewhere, such as on a web server. The source can deliver them again."""
        return self.state / "downloads"

    @property
    def online_log(self) -> Path:
        """Online half of the prediction log: date=…/{process}.jsonl, and marks and an index beside them."""
        return self.state / "prediction_log"

    @property
    def materialized_file(self) -> Path:
        """What the online store was written from: written last by materialize, absent while it writes."""
        return self.state / "materialized.json"

    @property
    def online_mark(self) -> Path:
        """The mark of the online store that materialize wrote last."""
        return self.state / "online_mark"

    @property
    def scored_file(self) -> Path:
        """The periods whose requests were scored by batches: written by predict, beside the log that only grows."""
        return self.state / "scored.json"

    @property
    def releases(self) -> Path:
        """What the online service serves: written by its loader, read by its workers."""
        return self.state / "releases"

    @property
    def packaged(self) -> Path:
        """packaged/: what a Bento serves, and the public key of its signatures. A checkout has no such folder."""
        return self.root / "packaged"

    @property
    def rollout_file(self) -> Path:
        """The rollout that goes on, or null: written with every change, watched by the online service's loader."""
        return self.state / "rollout.json"

    @property
    def serving_file(self) -> Path:
        """Which model serves: written by reconcile, read by DVC as a dependency of predict."""
        return self.state / "serving.json"

    @property
    def register_report(self) -> Path:
        """The report of `register`: the versions of the models that were trained last."""
        return self.reports / "register.json"

    @property
    def watermark(self) -> Path:
        """The digests of the source's batches: written by the sensors, read by DVC for ingest."""
        return self.shared_state / "sensors" / f"{self.scope.namespace}.source.json"

    @property
    def upstream_watermark(self) -> Path:
        """The content of the files of upstream views: written by the sensors, read by DVC for featurize."""
        return self.shared_state / "sensors" / f"{self.scope.namespace}.upstream.json"

    @property
    def requested_file(self) -> Path:
        """The requested version, if it does not serve yet: written by the sensors, read by DVC for reconcile."""
        return self.shared_state / "sensors" / f"{self.scope.namespace}.requested.json"

    @property
    def online_watermark(self) -> Path:
        """How often the online store was lost: written by the sensors, read by DVC for materialize."""
        return self.shared_state / "sensors" / f"{self.scope.namespace}.online.json"

    @property
    def missing_file(self) -> Path:
        """Which registered models the registry has lost: written by the sensors, read by DVC for register."""
        return self.shared_state / "sensors" / f"{self.scope.namespace}.missing.json"
