"""Fit the two models of a training run: the baseline and the candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from ratchet.code.code_digest import code_digest
from ratchet.core.errors import SettingsError
from ratchet.core.progress import report
from ratchet.core.settings import PARAMS_FILE, TrainingSettings
from ratchet.core.text import did_you_mean
from ratchet.models.baseline import BackoffBaseline
from ratchet.models.contract import Contract
from ratchet.models.model import Model, frame, save
from ratchet.models.model_files import checksums
from ratchet.project.run import Run
from ratchet.project.step_reports import Report
from ratchet.storage.digests import digest
from ratchet.storage.files import read_json, write_json
from ratchet.use_case.columns import require_columns
from ratchet.use_case.contract import Array, Columns, Kind, Postprocess
from training_pipeline import plots
from training_pipeline.frozen_set import TrainingSet, read_training_set, select

CODE = code_digest(__name__)
NAMES = ("baseline", "candidate")
FITTED = "fitted.json"
"""The file in models/ that says from what both models were made. It is written last."""
FIXED = {"deterministic": True, "force_row_wise": True, "verbose": -1}
"""Settings that give the same trees for the same rows, with any number of threads."""


@dataclass(frozen=True)
class Stopped:
    """The result of early stopping: best number of trees, loss after each tree, and predictions for the rows held back."""

    trees: int
    losses: list[float]
    labels: Array
    predicted: npt.NDArray[np.float64]


def train(run: Run) -> Report:
    """Fit baseline and candidate on the rows before the holdout; write models/baseline/, models/candidate/ and plots/.

    If both were fitted on these rows before, by the same code and settings, they are kept: fitting again would give the same.
    """
    training = read_training_set(run)
    is_kept = is_fit(run, training.contract) and _held(run)["made_by"] == _made_by(training)
    if is_kept and (run.paths.reports / "plots").is_dir():
        return dict(_held(run)["report"])
    _require_columns(training)
    baseline = fit_baseline(training)
    stopped = stop_early(training, run.settings.training, run.environment.threads)
    candidate = fit_candidate(training, stopped.trees, run.settings.training, run.environment.threads)
    pictures = _pictures(stopped, candidate)
    for name, model, plotted in (("baseline", baseline, {}), ("candidate", candidate, pictures)):
        reference = reference_rows(model, training.rows, run.settings.drift.reference_rows)
        save(model, run.paths.models / name, reference, plotted)
    plots.write(run.paths.reports / "plots", pictures)
    stopping = int(training.is_stopping.sum())
    report = {
        "rows": {"train": len(training.is_stopping) - stopping, "early_stopping": stopping},
        "models": {"baseline": baseline.digest, "candidate": candidate.digest},
        "data_version": training.contract.data_version,
        "best_iteration": stopped.trees,
    }
    fitted = {
        "fit": _fit_of(run, training.contract),
        "made_by": _made_by(training),
        "files": _checksums(run),
        "report": report,
    }
    write_json(run.paths.models / FITTED, fitted)
    return report


def _fit_of(run: Run, contract: Contract) -> str:
    """A digest of everything that the two models are made from."""
    settings = run.settings
    rows = (contract.data_version, contract.fingerprint, list(contract.inputs.items()), run.use_case.baseline)
    return digest(CODE, rows, settings.training.model_dump(exclude={"refit"}), settings.drift.reference_rows)


def _made_by(training: TrainingSet) -> list[bool | str | None]:
    """What decides whether a policy may promote the models."""
    return [training.contract.dirty, training.contract.experiment]


def is_fit(run: Run, contract: Contract) -> bool:
    """Whether the models of a finished fit on the frozen set of this contract, by this code and these settings, are there, byte
    for byte."""
    held = _held(run)
    return held.get("fit") == _fit_of(run, contract) and _checksums(run) == held["files"]


def _held(run: Run) -> dict[str, Any]:
    """What the last finished fit left; empty if there was none."""
    marker = run.paths.models / FITTED
    return dict(read_json(marker)) if marker.exists() else {}


def _checksums(run: Run) -> dict[str, dict[str, str]]:
    return {name: checksums(run.paths.models / name) for name in NAMES}


def _require_columns(training: TrainingSet) -> None:
    """Raises SettingsError where the use case names an input that its rows lack, or groups the baseline by no input."""
    use_case = training.use_case
    subject = f"use case {use_case.name}"
    require_columns("inputs", use_case.inputs, training.rows, subject=subject)
    require_columns("baseline", chain(*use_case.baseline), use_case.inputs, subject=subject)


def fit_baseline(training: TrainingSet) -> Model:
    """The use case's back-off baseline, on all rows."""
    contract, rows, levels = training.contract, training.rows, training.use_case.baseline
    baseline = BackoffBaseline(levels, contract.task)
    pipeline = Pipeline([("estimator", baseline)]).fit(frame(contract.inputs, rows), rows["label"])
    params = {"levels": [list(level) for level in levels], "min_rows": baseline.min_rows}
    return Model(contract.model_copy(update={"params": params}), pipeline, training.use_case.postprocess)


def stop_early(training: TrainingSet, settings: TrainingSettings, threads: int) -> Stopped:
    """Add trees until the loss on the early-stopping rows, which none of them was fitted on, stops falling."""
    contract, rows = training.contract, training.rows
    fitting, stopping = select(rows, ~training.is_stopping), select(rows, training.is_stopping)
    pipeline = _pipeline(contract, _parameters(settings), threads)
    encoder, estimator = pipeline[0], pipeline[-1]
    estimator.fit(
        encoder.fit_transform(frame(contract.inputs, fitting)),
        fitting["label"],
        eval_X=encoder.transform(frame(contract.inputs, stopping)),
        eval_y=stopping["label"],
        categorical_feature=_named(contract.inputs, "category"),
        callbacks=[
            lightgbm.early_stopping(settings.early_stopping_rounds, verbose=False),
            _count_trees("trees so far"),
        ],
    )
    losses = next(iter(estimator.evals_result_["valid_0"].values()))
    predicted = Model(contract, pipeline, training.use_case.postprocess).predict(stopping)
    return Stopped(int(estimator.best_iteration_), list(losses), stopping["label"], predicted)


def fit_candidate(training: TrainingSet, trees: int, settings: TrainingSettings, threads: int) -> Model:
    """LightGBM behind an encoder, on all rows, with as many trees as early stopping found."""
    params = {**_parameters(settings), "n_estimators": trees}
    contract = training.contract.model_copy(update={"kind": "lightgbm", "params": params})
    return fit_recipe(contract, training.rows, training.use_case.postprocess, threads)


def fit_recipe(contract: Contract, rows: Columns, postprocess: Postprocess, threads: int) -> Model:
    """LightGBM behind an encoder, with the contract's parameters, on these rows."""
    pipeline = _pipeline(contract, contract.params, threads)
    pipeline.fit(
        frame(contract.inputs, rows),
        rows["label"],
        estimator__categorical_feature=_named(contract.inputs, "category"),
        estimator__callbacks=[_count_trees("trees on all rows", contract.params["n_estimators"])],
    )
    return Model(contract, pipeline, postprocess)


def _count_trees(what: str, total: int | None = None) -> Callable[[lightgbm.callback.CallbackEnv], None]:
    """A callback of LightGBM that reports each tree."""
    return lambda env: report(what, env.iteration + 1, total)


def reference_rows(model: Model, rows: Columns, most: int) -> pa.Table:
    """At most `most` evenly spaced training rows: the model's inputs, `label` and the model's own `prediction`."""
    chosen = np.unique(np.linspace(0, len(rows["label"]) - 1, most).astype(np.int64))
    sample = select(rows, chosen)
    kept = {name: sample[name] for name in [*model.contract.inputs, "label"]}
    return pa.table({**kept, "prediction": model.predict(sample)})


def _pictures(stopped: Stopped, candidate: Model) -> dict[str, bytes]:
    booster = candidate.pipeline[-1].booster_
    gains = dict(zip(booster.feature_name(), booster.feature_importance("gain"), strict=True))
    return {
        "early_stopping": plots.curve(stopped.losses, stopped.trees),
        "importance": plots.bars(gains),
        **plots.of_predictions(candidate.contract.task, stopped.labels, stopped.predicted),
    }


def _parameters(settings: TrainingSettings) -> dict[str, Any]:
    """LightGBM's parameters. Raises SettingsError for one that LightGBM would ignore silently, or that this module sets."""
    names = lightgbm.basic._ConfigAliases
    known = {*lightgbm.LGBMModel().get_params(), *chain.from_iterable(names._get_all_param_aliases().values())}
    free = known - names.get(*FIXED, "seed", "num_threads", "num_iterations", "early_stopping_round") | {"n_estimators"}
    for name in settings.lightgbm:
        if name not in free:
            raise SettingsError(
                f"{name} cannot be set here{did_you_mean(name, free)}",
                subject=f"{PARAMS_FILE}: training.lightgbm",
                remedy="Use a parameter of LightGBM; seed, threads and early stopping have settings of their own",
            )
    return {**settings.lightgbm, "random_state": settings.seed}


def _pipeline(contract: Contract, params: Mapping[str, Any], threads: int) -> Pipeline:
    """Categories are encoded as numbers (a missing or unseen one as NaN), numbers are unchanged, then come the trees."""
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, dtype=np.float64
    )
    encode = ColumnTransformer(
        [
            ("category", encoder, _named(contract.inputs, "category")),
            ("number", "passthrough", _named(contract.inputs, "number")),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    kind = lightgbm.LGBMRegressor if contract.task == "regression" else lightgbm.LGBMClassifier
    return Pipeline([("encode", encode), ("estimator", kind(**params, **FIXED, n_jobs=threads))])


def _named(inputs: Mapping[str, Kind], kind: Kind) -> list[str]:
    return [name for name, given in inputs.items() if given == kind]
