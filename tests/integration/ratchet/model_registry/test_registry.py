"""What MLflow is told of a model, and what happens when it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.models import get_model_info

from inference_pipeline.online.loader import Loader
from inference_pipeline.online.model_slot import ModelSlot
from inference_pipeline.online.release_folder import ReleaseFolder
from ratchet.core.environment import Environment
from ratchet.core.errors import RegistryError, RegistryUnavailableError
from ratchet.model_registry.champion import resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import promote, reconcile, rollback
from ratchet.model_registry.sensors import sense
from ratchet.model_registry.status import status
from ratchet.models.model import frame
from ratchet.project.run import Run
from tests.support.interruptions import killed
from tests.support.mlflow_server import free_port
from tests.support.models import noshow_columns, save_noshow
from tests.support.records import noshow_record
from tests.support.registry import baseline, candidate, client, copied, create_registry, offer_model, trained
from tests.support.runs import noshow_project
from training_pipeline.register import offer, register


class HangingUp(TCPServer):
    """Takes connections, closes them at once and counts them."""

    attempts = 0

    def verify_request(self, *_: Any) -> bool:
        self.attempts += 1
        return False


def run_of(run: Run, version: int) -> MlflowRun:
    return client(run).get_run(client(run).get_model_version(run.scope.namespace, str(version)).run_id)


@pytest.fixture
def mlflow_uri(served: Run) -> Iterator[str]:
    """MLflow's own functions look at the project's registry."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{served.paths.shared_state / 'mlflow.db'}")
    yield f"models:/{served.scope.namespace}@champion"
    mlflow.set_tracking_uri(before)


def test_mlflow_loads_the_model_and_predicts_the_same(served: Run, mlflow_uri: str) -> None:
    """For MLflow's tools a version is an ordinary sklearn model, with predictions equal to ours."""
    columns = noshow_columns(20)
    rows = frame(candidate().contract.inputs, columns)
    theirs = mlflow.pyfunc.load_model(mlflow_uri).predict(rows)[:, 1]
    np.testing.assert_array_equal(theirs, candidate().predict(columns))


def test_a_version_has_a_signature_of_every_input(served: Run, mlflow_uri: str) -> None:
    """Numbers are doubles and categories strings, in the order of the contract."""
    signature = get_model_info(mlflow_uri).signature
    assert signature is not None
    kinds = {"number": "double", "category": "string"}
    expected = [(name, kinds[kind]) for name, kind in candidate().contract.inputs.items()]
    assert [(column.name, column.type.name) for column in signature.inputs] == expected


def test_no_model_is_pickled(served: Run) -> None:
    """The files of a version are text, Parquet and skops."""
    directory = resolve_champion(ModelRegistry.open(served)).directory
    suffixes = {path.suffix for path in directory.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".skops", ".json", ".parquet", ".yaml", ".txt"}


def test_a_run_has_the_scores_of_all_that_were_compared(served: Run) -> None:
    """Metrics of candidate, reference and champion on the same holdout stand side by side."""
    metrics = run_of(served, 2).data.metrics
    roles = ("champion", "holdout", "reference")
    scores = {f"{role}/{name}" for role in roles for name in ("auc", "brier", "calibration_error", "log_loss")}
    assert set(metrics) == scores | {"holdout/n", "holdout/skill"}


def test_a_run_names_its_data_code_and_features(served: Run) -> None:
    """The data set carries DVC's digest; tags name commit, service and fingerprint."""
    mlflow_run, contract = run_of(served, 2), candidate().contract
    (dataset,) = mlflow_run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("noshow-clinic", contract.data_version)
    tags = mlflow_run.data.tags
    assert (tags["ratchet.commit"], tags["ratchet.dirty"]) == (contract.commit, "false")
    assert (tags["ratchet.features.service"], tags["ratchet.fingerprint"]) == (
        contract.feature_service,
        contract.fingerprint,
    )


def test_a_run_keeps_plots_parameters_and_the_lock_of_the_data(unserved: Run) -> None:
    """Plots of the model, params.yaml and dvc.lock are with the run, so that its data can be restored."""
    (unserved.root / "params.yaml").write_text("use_case: noshow\n")
    (unserved.root / "dvc.lock").write_text("schema: '2.0'\n")
    directory = save_noshow(candidate(), unserved.paths.models / "candidate")
    (directory / "plots").mkdir()
    (directory / "plots" / "calibration.svg").write_text("<svg/>")
    version = offer(ModelRegistry.open(unserved), directory, noshow_record(unserved, candidate(), directory=directory))
    run_id = run_of(unserved, version).info.run_id
    files = [file.path for folder in ("plots", "versions") for file in client(unserved).list_artifacts(run_id, folder)]
    assert files == ["plots/calibration.svg", "versions/dvc.lock", "versions/params.yaml"]


def test_every_record_of_a_version_is_kept(served: Run) -> None:
    """A newer record takes the place of one that never let its model serve, and the older one stays beside it."""
    for blocks in (8, 9):
        version = offer_model(served, candidate(5), None, blocks=blocks)
    run_id = run_of(served, version).info.run_id
    assert len(client(served).list_artifacts(run_id, "gate")) == 2


def test_a_registry_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    """A server that refuses connections is named."""
    address = f"http://127.0.0.1:{free_port()}"
    run = replace(noshow_project(tmp_path), environment=Environment(tracking_uri=address))
    for question in (resolve_champion, status):
        with pytest.raises(RegistryUnavailableError, match=f"{address}: .*RATCHET_TRACKING_URI"):
            question(ModelRegistry.open(run))


def test_a_registry_that_hangs_up_is_asked_once_more(tmp_path: Path) -> None:
    """A server that does not answer keeps nobody waiting: MLflow's own default are seven attempts, a minute in all."""
    with HangingUp(("127.0.0.1", 0), BaseRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(RegistryUnavailableError, match="RATCHET_TRACKING_URI"):
            status(ModelRegistry.open(replace(noshow_project(tmp_path), environment=Environment(tracking_uri=address))))
        server.shutdown()
    assert server.attempts == 2


def test_a_registry_that_cannot_be_written_is_one_clear_error(unserved: Run) -> None:
    """A database that is no database is named, not a traceback."""
    other = replace(unserved, environment=Environment(tracking_uri=f"sqlite:///{unserved.root / 'broken.db'}"))
    (unserved.root / "broken.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(RegistryError, match=r"not a database.*RATCHET_TRACKING_URI"):
        status(ModelRegistry.open(other))


def test_the_whole_story_through_a_real_server(empty_registry: Run, mlflow_server: str, tmp_path: Path) -> None:
    """Over HTTP, with artifacts on the server: two versions, a loss, a request by the server's own API, a refusal,
    a rollback."""
    run = replace(copied(empty_registry, tmp_path / "project"), environment=Environment(tracking_uri=mlflow_server))
    register(trained(run))
    assert resolve_champion(ModelRegistry.open(run)).model.digest == candidate().digest
    lost = [sense([ModelRegistry.open(run)])[run.scope.namespace]["missing"]]
    for description in [*(tmp_path / "artifacts").rglob("MLmodel")]:
        description.unlink()
    lost.append(sense([ModelRegistry.open(run)])[run.scope.namespace]["missing"])
    reconcile(ModelRegistry.open(run))
    assert [[], [candidate().digest], []] == [
        *lost,
        sense([ModelRegistry.open(run)])[run.scope.namespace]["missing"],
    ]
    offer_model(run, candidate(5), baseline().digest)
    assert status(ModelRegistry.open(run))["versions"][2]["status"].startswith("refused: it compares with")
    client(run).set_registered_model_alias(run.scope.namespace, "champion", "1")
    assert reconcile(ModelRegistry.open(run))["champion"]["version"] == 1
    assert promote(ModelRegistry.open(run), 2, by="ann")["champion"]["version"] == 2
    assert rollback(ModelRegistry.open(run), by="ann", reason="a mistake")["champion"]["version"] == 1


def test_a_database_whose_making_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    """MLflow cannot go on with a migration that broke off: its database is there as a whole, or not at all."""
    run = noshow_project(tmp_path)
    killed(create_registry, run, at=3)
    create_registry(run)
    assert status(ModelRegistry.open(run))["versions"] == []


def test_the_service_tells_silence_from_an_answer(served: Run) -> None:
    """It goes on with its model while the registry is away or broken, and stops when the registry says that nothing serves."""
    away = Environment(tracking_uri=f"http://127.0.0.1:{free_port()}")
    broken = Environment(tracking_uri=f"sqlite:///{served.root / 'broken.db'}")
    (served.root / "broken.db").write_bytes(b"this is no database" * 100)
    Loader(served).refresh()
    accepted = ReleaseFolder.of(served).current()
    served.paths.serving_file.unlink()
    for environment in (away, broken):
        Loader(replace(served, environment=environment)).refresh()
        said = ReleaseFolder.of(served).current()
        assert accepted.release == said.release is not None
        assert said.problem
    client(served).delete_registered_model(served.scope.namespace)
    Loader(served).refresh()
    serving = ModelSlot(served)
    serving.refresh()
    with pytest.raises(RegistryError, match=r"no model serves .*promoted"):
        _ = serving.predictor
