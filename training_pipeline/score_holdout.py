"""Score a model with this commit's code: `python -m training_pipeline.score_holdout MODEL ACCEPTED START END OUT`.

A later commit runs this in a checkout of this commit, to evaluate a model whose features it no longer computes itself. The two
commits have to agree only on this command line, on as_of.yaml, and on use_case, source, windows and upstream in params.yaml.
So they must not change: MODEL is the model's directory, ACCEPTED the folder of accepted tables (it is only read), START and
END bound the requests (ISO 8601, END not included), and OUT becomes a Parquet file of request_id and prediction.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from ratchet.core.clock import Period
from ratchet.core.errors import VersionError
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import historical
from ratchet.features.service import service_spec
from ratchet.models.model import load
from ratchet.project.run import Run
from ratchet.storage.partitions import write_table


def main(directory: str, accepted: str, start: str, end: str, out: str) -> None:
    """Compute the features, then predict. Raises VersionError if the model was trained on other features."""
    run = Run.load()
    model = load(Path(directory), run.use_case)
    service, needed = service_spec(run.use_case), model.contract
    if service.fingerprint != needed.fingerprint:
        raise VersionError(
            f"computes {service.name} with the installed libraries, and not {needed.feature_service}",
            subject="the code of the model",
            remedy="Install those that the model was trained with",
        )
    features = FeatureStore.open(run)
    _compute_features(run, features, Path(accepted))
    period = Period(datetime.fromisoformat(start), datetime.fromisoformat(end))
    rows = run.use_case.complete(historical(features, period))
    write_table(Path(out), pa.table({"request_id": rows["request_id"], "prediction": model.predict(rows)}))


def _compute_features(run: Run, features: FeatureStore, accepted: Path) -> None:
    """Run the feature pipeline's own stage. If it fails, its message is the last line on stderr."""
    run.paths.data.mkdir(parents=True)
    run.paths.accepted.symlink_to(accepted)
    if subprocess.run([sys.executable, "-m", "cli", "stage", "featurize"], check=False).returncode:
        sys.exit(1)
    apply(features)


if __name__ == "__main__":
    main(*sys.argv[1:])
