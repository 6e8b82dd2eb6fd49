"""A project in which everything up to a serving model has happened, on real stores, small enough to make once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa

from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.core.settings import PARAMS_FILE
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.reads import labelled_requests
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.model import Model, save
from ratchet.project.project import Project
from ratchet.use_case.contract import Columns
from tests.support.accepted import accept_all
from tests.support.models import noshow_contract
from tests.support.projects import noshow_project, params
from tests.support.records import noshow_record
from training_pipeline.frozen_set import TrainingSet, complete
from training_pipeline.register import offer
from training_pipeline.train import fit_baseline, fit_candidate

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
TREES = 20


def serve_candidate(root: Path) -> Project:
    """A small project of the second use case in which a tree model serves."""
    return serve(noshow_project(root, rows_per_week=60))


def serve(project: Project) -> Project:
    """The project, with features computed and materialized; a tree model serves as version 2, after the baseline."""
    accept_all(project)
    featurize(project)
    materialize(project)
    offer_candidate(project, offer_baseline(project))
    return project


@dataclass(frozen=True)
class Server:
    """A running `ratchet serve`, and a client that speaks to it."""

    project: Project
    client: httpx.Client

    @property
    def model(self) -> str:
        return f"/v1/models/{self.project.scope.namespace}"


@contextmanager
def running(project: Project, *others: Project) -> Iterator[Server]:
    """The service on a free port, started from the project's folder, which it may share with others."""
    settings = [one.settings for one in (project, *others)]
    (project.root / PARAMS_FILE).write_text(params(*settings), encoding="utf-8")
    port, log = _free_port(), project.root / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve", "--port", str(port)],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
        try:
            _wait_until_ready(client, process, log)
            yield Server(project, client)
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS * 5):
        with suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    raise AssertionError(log.read_text(encoding="utf-8"))


def offer_baseline(project: Project) -> Model:
    rows = _rows(project)
    model = fit_baseline(_training_set(project, rows))
    return _offer(project, model, rows, champion=None)


def offer_candidate(project: Project, champion: Model) -> Model:
    """A tree model that takes the champion's place."""
    rows = _rows(project)
    model = fit_candidate(_training_set(project, rows), TREES, project.settings.training, threads=1)
    return _offer(project, model, rows, champion.digest)


def _rows(project: Project) -> Columns:
    known = labelled_requests(FeatureStore.open(project), project.period("train"), project.period("holdout").start)
    return complete(project.use_case, known)


def _training_set(project: Project, rows: Columns) -> TrainingSet:
    return TrainingSet(project.use_case, rows, np.zeros(len(rows["label"]), bool), noshow_contract(project))


def _offer(project: Project, model: Model, rows: Columns, champion: str | None) -> Model:
    directory = project.paths.models / model.digest[:12]
    reference = {name: rows[name] for name in [*model.contract.inputs, "label"]}
    save(model, directory, pa.table({**reference, "prediction": model.predict(rows)}))
    offer(ModelRegistry.open(project), directory, noshow_record(project, model, champion, directory))
    return model
