"""A project in which everything up to a serving model has happened, on real stores, small enough to make once."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa

from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import labelled_requests
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.model import Model, save
from ratchet.project.run import Run
from ratchet.use_case.contract import Columns
from tests.support.accepted import accept_all
from tests.support.models import noshow_contract
from tests.support.ports import free_port
from tests.support.records import good_score, noshow_record
from tests.support.runs import write_settings
from tests.support.waiting import LONGEST
from training_pipeline.frozen_set import TrainingSet, complete
from training_pipeline.register import offer
from training_pipeline.train import fit_baseline, fit_candidate

ROOT = Path(__file__).parents[2]
TREES = 20


def serve(run: Run) -> Run:
    """The project, with features computed and materialized; a tree model serves as version 2, after the baseline."""
    accept_all(run)
    featurize(run)
    materialize(run)
    offer_candidate(run, offer_baseline(run))
    return run


@dataclass(frozen=True)
class Server:
    """A running `ratchet serve`, and a client that speaks to it."""

    run: Run
    client: httpx.Client
    process: subprocess.Popen[bytes]

    @property
    def model(self) -> str:
        return f"/v1/models/{self.run.scope.namespace}"


@contextmanager
def running(
    run: Run, *others: Run, command: Sequence[str] = ("cli", "serve"), certificate: Path | None = None, **variables: str
) -> Iterator[Server]:
    """The service on a free port, started from the project's folder, which it may share with others.

    `command` is the module that starts it, with its first options, and `variables` are those of its environment. If there is a
    certificate, the client asks over TLS, and trusts it.
    """
    write_settings(run.root, run, *others)
    with started(command, run.root, certificate, PYTHONPATH=str(ROOT), **variables) as (client, process):
        yield Server(run, client, process)


@contextmanager
def started(
    command: Sequence[str], folder: Path, certificate: Path | None = None, **variables: str
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A service that a module starts in a folder, with a client of it, once it is ready."""
    port, log = free_port(), folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port)],
            cwd=folder,
            env={**os.environ, **variables},
            stdout=output,
            stderr=output,
        )
    address = f"http{'s' * bool(certificate)}://127.0.0.1:{port}"
    trusted = ssl.create_default_context(cafile=certificate) if certificate else False
    with httpx.Client(base_url=address, timeout=LONGEST, trust_env=False, verify=trusted) as client:
        try:
            _wait_until_ready(client, process, log)
            yield client, process
        finally:
            process.terminate()
            process.wait(LONGEST)


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(int(LONGEST) * 5):
        with suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    raise AssertionError(log.read_text(encoding="utf-8"))


def offer_baseline(run: Run) -> Model:
    rows = _rows(run)
    model = fit_baseline(_training_set(run, rows))
    return _offer(run, model, rows, champion=None)


def offer_candidate(run: Run, champion: Model) -> Model:
    """A tree model that takes the champion's place."""
    rows = _rows(run)
    model = fit_candidate(_training_set(run, rows), TREES, run.settings.training, threads=1)
    return _offer(run, model, rows, champion.digest)


def _rows(run: Run) -> Columns:
    known = labelled_requests(FeatureStore.open(run), run.period("train"), run.period("holdout").start)
    return complete(run.use_case, known)


def _training_set(run: Run, rows: Columns) -> TrainingSet:
    return TrainingSet(run.use_case, rows, np.zeros(len(rows["label"]), bool), noshow_contract(run))


def _offer(run: Run, model: Model, rows: Columns, champion: str | None) -> Model:
    directory = run.paths.models / model.digest[:12]
    reference = {name: rows[name] for name in [*model.contract.inputs, "label"]}
    save(model, directory, pa.table({**reference, "prediction": model.predict(rows)}))
    reference = {"reference": good_score(champion)} if champion else {}
    offer(ModelRegistry.open(run), directory, noshow_record(run, model, champion, directory, **reference))
    return model
