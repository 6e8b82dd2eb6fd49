"""A project in which everything up to a serving model has happened, on real stores, small enough to make once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_pipeline.featurize import featurize
from feature_pipeline.materialize import materialize
from ratchet.feature_service import service_spec
from ratchet.feature_store import training_set
from ratchet.model import Contract, Model, save
from ratchet.project import Project
from ratchet.tables import Columns
from tests.support.accepted import accept_all
from tests.support.models import noshow_contract
from tests.support.projects import noshow_project
from tests.support.records import noshow_record
from training_pipeline.fit import fit_baseline, fit_candidate
from training_pipeline.register import offer


def serving_project(root: Path) -> Project:
    """Features computed and materialized; the baseline serves as version 1."""
    project = noshow_project(root, rows_per_week=60)
    accept_all(project)
    featurize(project)
    materialize(project)
    offer_baseline(project)
    return project


def offer_baseline(project: Project) -> Model:
    rows = _rows(project)
    model = fit_baseline(_contract(project), rows, project.use_case.baseline)
    return _offer(project, model, rows, champion=None)


def offer_candidate(project: Project, champion: Model) -> Model:
    """A tree model that takes the champion's place."""
    rows = _rows(project)
    is_stopping = np.arange(len(rows["label"])) % 5 == 0
    model = fit_candidate(_contract(project), rows, is_stopping, project.settings.training, threads=1)
    return _offer(project, model, rows, champion.digest)


def _rows(project: Project) -> Columns:
    return training_set(project, project.period("train"), project.period("holdout").start)


def _contract(project: Project) -> Contract:
    return noshow_contract(project, service_spec(project.use_case).fingerprint)


def _offer(project: Project, model: Model, rows: Columns, champion: str | None) -> Model:
    directory = project.models / model.digest[:12]
    reference = {name: rows[name] for name in [*model.contract.inputs, "label"]}
    save(model, directory, pa.table({**reference, "prediction": model.predict(rows)}))
    offer(project, directory, noshow_record(project, model, champion))
    return model
