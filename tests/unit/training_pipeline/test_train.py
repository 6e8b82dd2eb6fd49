"""Fitting: early stopping, refitting, the rows that are kept for reference, and pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ratchet.core.errors import SettingsError
from ratchet.core.settings import TrainingSettings
from tests.support.models import SETTINGS, noshow_baseline, noshow_candidate, noshow_contract, noshow_training_set
from training_pipeline import plots
from training_pipeline.train import fit_candidate, reference_rows, stop_early


def test_early_stopping_stops_where_the_loss_was_least() -> None:
    """The number of trees is that of the least loss on the rows held back, and more were tried."""
    stopped = stop_early(noshow_training_set(), SETTINGS, threads=1)
    assert stopped.trees == 1 + int(np.argmin(stopped.losses))
    assert stopped.trees < len(stopped.losses) < 200
    assert len(stopped.labels) == len(stopped.predicted) == 200


def test_rows_held_back_do_not_shape_the_trees_that_are_judged_on_them() -> None:
    """Other labels in the early-stopping period change the losses, not the first tree's predictions."""
    training = noshow_training_set()
    labels = np.where(training.is_stopping, 1 - training.rows["label"], training.rows["label"])
    settings = TrainingSettings(early_stopping_rounds=1, lightgbm={**SETTINGS.lightgbm, "n_estimators": 1})
    first, second = (
        stop_early(given, settings, threads=1)
        for given in (training, replace(training, rows={**training.rows, "label": labels}))
    )
    assert first.predicted.tolist() == second.predicted.tolist()
    assert first.losses != second.losses


def test_candidate_is_fitted_on_all_rows_with_the_trees_it_is_told() -> None:
    """After early stopping the rows held back are learnt from too."""
    training = noshow_training_set()
    fitting_only = replace(
        training, rows={name: column[~training.is_stopping] for name, column in training.rows.items()}
    )
    candidate = fit_candidate(training, 7, SETTINGS, threads=1)
    assert candidate.pipeline[-1].booster_.num_trees() == 7
    assert candidate.contract.params["n_estimators"] == 7
    assert candidate.digest != fit_candidate(fitting_only, 7, SETTINGS, threads=1).digest


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("learnin_rate", "learnin_rate .*'learning_rate'"),
        ("num_iterations", "num_iterations cannot be set here"),
        ("n_jobs", "n_jobs cannot be set here"),
        ("deterministic", "deterministic cannot be set here"),
    ],
)
def test_parameter_that_would_be_ignored_is_an_error(name: str, problem: str) -> None:
    """LightGBM takes any name without a word; a typo in params.yaml must not go unnoticed."""
    with pytest.raises(SettingsError, match=problem):
        stop_early(noshow_training_set(), TrainingSettings(lightgbm={name: 1}), threads=1)


def test_native_and_sklearn_names_are_both_taken() -> None:
    """Parameters may have either of LightGBM's two sets of names."""
    settings = TrainingSettings(lightgbm={"n_estimators": 5, "min_data_in_leaf": 10, "reg_lambda": 1.0, "max_bin": 63})
    assert 1 <= stop_early(noshow_training_set(), settings, threads=1).trees <= 5


def test_regression_predicts_the_label_itself() -> None:
    """The same code fits the other task: predictions are in the label's unit."""
    training = noshow_training_set(noshow_contract().model_copy(update={"task": "regression"}))
    minutes = 10 + 5 * (training.rows["clinic"] == "north")
    candidate = fit_candidate(replace(training, rows={**training.rows, "label": minutes}), 60, SETTINGS, threads=1)
    np.testing.assert_allclose(candidate.predict(training.rows), minutes, atol=0.1)


@pytest.mark.parametrize(("most", "kept"), [(100, 100), (5000, 1200)])
def test_reference_rows_are_evenly_spread_and_bounded(most: int, kept: int) -> None:
    """Monitoring gets inputs, label and the model's own prediction of rows from the whole of training."""
    model, rows = noshow_baseline(), noshow_training_set().rows
    table = reference_rows(model, rows, most)
    assert table.column_names == [*model.contract.inputs, "label", "prediction"]
    assert table.num_rows == kept
    ends = [table[name][place].as_py() for name in ("booked_days_ahead", "label") for place in (0, -1)]
    assert ends == [rows[name][place] for name in ("booked_days_ahead", "label") for place in (0, -1)]


def test_missing_values_stay_missing_in_the_reference() -> None:
    """A patient without a history has none in the reference either."""
    model, rows = noshow_candidate(), noshow_training_set().rows
    table = reference_rows(model, rows, 1200)
    name = "patient_history__miss_rate_56d"
    assert np.isnan(table[name].to_numpy()).tolist() == np.isnan(rows[name]).tolist()


def test_pictures_are_the_same_bytes_for_the_same_numbers() -> None:
    """A plot is an output like any other: no clock, no chance."""
    labels, predicted = np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.9, 0.6])
    for draw in (
        lambda: plots.curve([3.0, 2.0, 2.5], 2),
        lambda: plots.bars({"hour": 1.0, "clinic": 2.0}),
        lambda: plots.calibration(labels, predicted, "mean label"),
        lambda: plots.roc(labels, predicted),
        lambda: plots.precision_recall(labels, predicted),
    ):
        picture = draw()
        assert picture.startswith(b"\x89PNG")
        assert picture == draw()


def test_pictures_follow_from_the_task_and_not_from_the_order_of_rows() -> None:
    """Probabilities have a reliability curve, ROC, and precision and recall; other numbers have their own picture."""
    rng = np.random.default_rng(3)
    predicted = rng.random(3000).round(3)
    labels = (rng.random(3000) < predicted).astype(float)
    drawn = plots.of_predictions("binary", labels, predicted)
    assert {"reliability", "roc", "precision_recall"} == drawn.keys()
    assert drawn == plots.of_predictions("binary", labels[::-1], predicted[::-1])
    assert {"predicted_and_actual"} == plots.of_predictions("regression", labels, predicted).keys()


def test_one_probability_for_all_can_be_drawn() -> None:
    """A model that says the same of every row still has its pictures."""
    assert 3 == len(plots.of_predictions("binary", np.array([0.0, 1.0, 1.0]), np.full(3, 0.5)))
