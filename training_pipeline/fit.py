"""Fit the two models of a training run: the baseline and the candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from ratchet.backoff import BackoffBaseline
from ratchet.model import Contract, Model, frame
from ratchet.settings import TrainingSettings
from ratchet.use_case import Array, Columns, Kind


def fit_baseline(contract: Contract, rows: Columns, levels: Sequence[tuple[str, ...]]) -> Model:
    """The back-off baseline on all `rows`, which have the contract's inputs and `label`."""
    baseline = BackoffBaseline(tuple(levels), contract.task)
    pipeline = Pipeline([("estimator", baseline)]).fit(frame(contract.inputs, rows), rows["label"])
    params = {"levels": [list(level) for level in levels], "min_rows": baseline.min_rows}
    return Model(contract.model_copy(update={"kind": "baseline", "params": params}), pipeline)


def fit_candidate(
    contract: Contract, rows: Columns, is_stopping: Array, settings: TrainingSettings, threads: int
) -> Model:
    """LightGBM behind an encoder, on all `rows`, with as many trees as did best on the rows of `is_stopping`."""
    fitting, stopping = select(rows, ~is_stopping), select(rows, is_stopping)
    trees = _best_iteration(contract, fitting, stopping, settings, threads)
    params = {**settings.lightgbm, "n_estimators": trees, "random_state": settings.seed}
    pipeline = _pipeline(contract, params, threads)
    pipeline.fit(frame(contract.inputs, rows), rows["label"], estimator__categorical_feature=_categories(contract))
    return Model(contract.model_copy(update={"kind": "lightgbm", "params": params}), pipeline)


def select(columns: Columns, rows: Array) -> dict[str, Array]:
    """The rows of a mask or of indices."""
    return {name: column[rows] for name, column in columns.items()}


def _best_iteration(
    contract: Contract, fitting: Columns, stopping: Columns, settings: TrainingSettings, threads: int
) -> int:
    """How many trees had the least loss on `stopping`, which none of them was fitted on."""
    pipeline = _pipeline(contract, {**settings.lightgbm, "random_state": settings.seed}, threads)
    encoder, estimator = pipeline[0], pipeline[-1]
    estimator.fit(
        encoder.fit_transform(frame(contract.inputs, fitting)),
        fitting["label"],
        eval_X=encoder.transform(frame(contract.inputs, stopping)),
        eval_y=stopping["label"],
        categorical_feature=_categories(contract),
        callbacks=[lightgbm.early_stopping(settings.early_stopping_rounds, verbose=False)],
    )
    return int(estimator.best_iteration_)


def _pipeline(contract: Contract, params: Mapping[str, Any], threads: int) -> Pipeline:
    """Categories to numbers (a missing or unseen one to NaN), numbers as they are, then the trees."""
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, dtype=np.float64
    )
    encode = ColumnTransformer(
        [
            ("category", encoder, _categories(contract)),
            ("number", "passthrough", _named(contract.inputs, "number")),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    kind = lightgbm.LGBMRegressor if contract.task == "regression" else lightgbm.LGBMClassifier
    fixed = {"deterministic": True, "force_row_wise": True, "n_jobs": threads, "verbose": -1}
    return Pipeline([("encode", encode), ("estimator", kind(**params, **fixed))])


def _categories(contract: Contract) -> list[str]:
    return _named(contract.inputs, "category")


def _named(inputs: Mapping[str, Kind], kind: Kind) -> list[str]:
    return [name for name, given in inputs.items() if given == kind]
