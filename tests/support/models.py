"""Tiny models of the second use case, trained on made-up columns: no feature store needed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pyarrow as pa

from ratchet.core.settings import TrainingSettings
from ratchet.features.service import service_spec
from ratchet.models.contract import Contract
from ratchet.models.model import Model, save
from ratchet.models.model_files import ARCHIVE
from ratchet.project.run import Run
from ratchet.use_case.contract import Array
from tests.support.noshow import use_case
from tests.support.runs import noshow_project
from training_pipeline.frozen_set import TrainingSet
from training_pipeline.train import fit_baseline, fit_candidate

TRAINED_FROM, TRAINED_UNTIL = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
SETTINGS = TrainingSettings(
    early_stopping_rounds=10,
    lightgbm={"n_estimators": 200, "learning_rate": 0.1, "num_leaves": 7, "min_child_samples": 10},
)


def noshow_columns(rows: int = 1200, seed: int = 0, start: datetime = TRAINED_FROM) -> dict[str, Array]:
    """Joined and labelled requests, twenty minutes apart from `start`, as `training_set` would return them."""
    rng = np.random.default_rng(seed)
    patients, lead = rng.integers(0, 30, rows), rng.integers(0, 30, rows).astype(float)
    clinic = rng.choice(np.array(["north", "south"], dtype=object), rows)
    rate = 1 / (1 + np.exp(2.0 - 3.0 * (patients % 3 == 0) - 0.05 * lead - 0.5 * (clinic == "north")))
    asked = np.datetime64(start.replace(tzinfo=None), "us") + np.arange(rows) * np.timedelta64(20, "m")
    seen = rng.integers(0, 5, rows).astype(float)
    return {
        "request_id": np.array([f"week-000:{row:08d}" for row in range(rows)], dtype=object),
        "event_timestamp": asked,
        "patient": np.array([f"p{patient}" for patient in patients], dtype=object),
        "clinic": clinic,
        "booked_days_ahead": lead,
        "hour": rng.integers(8, 18, rows).astype(float),
        "patient_history__appointments_56d": np.where(seen == 0, np.nan, seen),
        "patient_history__miss_rate_56d": np.where(seen == 0, np.nan, rate.round(2)),
        "label": (rng.random(rows) < rate).astype(float),
        "label_known_at": asked + np.timedelta64(3, "D"),
    }


def noshow_contract(run: Run | None = None, fingerprint: str = "") -> Contract:
    """That of a model on the features which the project's code computes, unless another fingerprint is given."""
    run = run or noshow_project(Path())
    fingerprint = fingerprint or service_spec(run.use_case).fingerprint
    return Contract(
        model_name=run.scope.namespace,
        use_case=run.settings.use_case,
        source=run.settings.source.name,
        task="binary",
        kind="baseline",
        feature_service=f"noshow_{fingerprint[:8]}",
        fingerprint=fingerprint,
        inputs=dict(use_case.inputs),
        trained_from=TRAINED_FROM,
        trained_until=TRAINED_UNTIL,
        data_version="d" * 32 + ".dir",
        features_version="e" * 32 + ".dir",
        commit="c" * 40,
        dirty=False,
        experiment=None,
        params={},
    )


def noshow_baseline(contract: Contract | None = None, rows: int = 1200) -> Model:
    return fit_baseline(noshow_training_set(contract, rows))


def noshow_training_set(contract: Contract | None = None, rows: int = 1200) -> TrainingSet:
    """Early stopping is on the last sixth of the rows."""
    return TrainingSet(use_case, noshow_columns(rows), np.arange(rows) >= rows * 5 // 6, contract or noshow_contract())


def noshow_candidate(contract: Contract | None = None, rows: int = 1200, trees: int = 20, threads: int = 1) -> Model:
    return fit_candidate(noshow_training_set(contract, rows), trees, SETTINGS, threads)


def save_noshow(model: Model, directory: Path, rows: int = 100) -> Path:
    """The model's directory, with training rows for reference."""
    columns = noshow_columns(rows)
    names = [*model.contract.inputs, "label"]
    save(model, directory, pa.table({**{n: columns[n] for n in names}, "prediction": model.predict(columns)}))
    return directory


def rewrite_schema(directory: Path, edit: Callable[[str], str]) -> None:
    """Edit the text of a model's archive, which holds boosters too."""
    with ZipFile(directory / ARCHIVE) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["schema.json"] = edit(members["schema.json"].decode()).encode()
    with ZipFile(directory / ARCHIVE, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
