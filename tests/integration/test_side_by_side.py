"""Two use cases in one checkout: what they share is declared once, what is theirs is kept apart, one process serves both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from inference_pipeline.batch.predict import predict
from inference_pipeline.online.example import example_request
from ratchet.feature_store.feature_store import feast_project
from ratchet.features.service import service_spec
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.model_registry.promotion import rollback
from ratchet.model_registry.status import status
from ratchet.project.run import Run
from ratchet.storage.partitions import files
from tests.support.checkout import ROOT
from tests.support.killing import contents
from tests.support.runs import noshow_project
from tests.support.serving import Server, running, serve


@pytest.fixture(scope="module")
def noshow(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A project of which a second use case shares the checkout; in both everything up to a serving model has happened."""
    return serve(noshow_project(tmp_path_factory.mktemp("checkout"), rows_per_week=60))


@pytest.fixture(scope="module")
def reminders(noshow: Run) -> Run:
    return serve(replace(noshow.with_settings(use_case="tests.support.reminders")))


def test_a_view_that_both_declare_is_computed_alike_and_kept_apart(noshow: Run, reminders: Run) -> None:
    """It has one version and the same bytes, in two Feast projects."""
    one, other = service_spec(noshow.use_case), service_spec(reminders.use_case)
    assert (one.views, one.schemas) == (other.views, other.schemas)
    assert contents(noshow.paths.features / "views") == contents(reminders.paths.features / "views")
    assert not {*files(noshow.paths.data)} & {*files(reminders.paths.data)}
    assert ("noshow_clinic", "reminders_clinic") == (feast_project(noshow.scope), feast_project(reminders.scope))


def test_what_serves_in_one_is_nothing_to_the_other(noshow: Run, reminders: Run) -> None:
    """A rollback moves the model of its own use case only."""
    before = status(ModelRegistry.open(noshow))
    rollback(ModelRegistry.open(reminders), by="ann", reason="to see")
    assert (before, 1) == (status(ModelRegistry.open(noshow)), status(ModelRegistry.open(reminders))["champion"])


@pytest.fixture(scope="module")
def server(noshow: Run, reminders: Run) -> Iterator[Server]:
    with running(noshow, reminders) as server:
        yield server


def test_one_process_answers_for_both(server: Server, noshow: Run, reminders: Run) -> None:
    """Each by its own name, model and prediction log."""
    for run in (noshow, reminders):
        predict(run)
        answer = server.client.post(f"/v1/models/{run.scope.namespace}:predict", json=example_request(run))
        assert (200, run.scope.namespace) == (answer.status_code, answer.json()["model_name"])
        assert [*run.paths.online_log.rglob("*.jsonl")]
    names = [name + form for name in ("noshow-clinic", "reminders-clinic") for form in ("", ".vectors")]
    assert names == server.client.get("/v1/models").json()["models"]


def test_a_prediction_is_traced_whoever_made_it(server: Server, reminders: Run) -> None:
    """An id leads to its model from wherever one asks; one that nobody gave is an error of the use case that is selected."""
    url = f"/v1/models/{reminders.scope.namespace}:predict"
    (prediction_id,) = server.client.post(url, json=example_request(reminders)).json()["prediction_ids"]
    traced = ratchet_trace(reminders, prediction_id)
    assert 0 == traced.returncode, traced.stderr
    assert reminders.scope.namespace == json.loads(traced.stdout)["model"]["name"]
    assert f"'{prediction_id}0': is not in " in ratchet_trace(reminders, f"{prediction_id}0").stderr


def ratchet_trace(run: Run, prediction_id: str) -> subprocess.CompletedProcess[str]:
    """`ratchet trace` in the checkout, where params.yaml selects the first use case."""
    command, environment = (
        [sys.executable, "-m", "cli", "trace", prediction_id],
        {**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return subprocess.run(command, cwd=run.root, env=environment, capture_output=True, text=True, check=False)
