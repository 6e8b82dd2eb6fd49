"""Metrics of each task, and what must hold of a calibration error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from ratchet.models.metrics import METRICS, Floats, calibration_error, equally_full, metrics, row_losses
from ratchet.use_case.contract import Task


@st.composite
def judged(draw: st.DrawFn, most: int = 400) -> tuple[Floats, Floats]:
    """Labels and probabilities of equally many rows, with ties."""
    rows = draw(st.integers(1, most))
    labels = draw(arrays(np.float64, rows, elements=st.sampled_from([0.0, 1.0])))
    some = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    return labels, draw(arrays(np.float64, rows, elements=some))


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_every_metric_of_a_task_has_a_direction_and_no_other_is_computed(task: Task) -> None:
    """What is measured is what METRICS declares, name by name."""
    labels, predicted = np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.9, 0.6])
    assert list(METRICS[task]) == list(metrics(task, labels, predicted))
    assert {"auc"} == {name for name, metric in METRICS["binary"].items() if metric.better == "higher"}


def test_metrics_are_those_of_the_field() -> None:
    """Figures agree with scikit-learn's and with hand-made ones."""
    labels, predicted = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.2, 0.7, 0.4, 0.5])
    expected = {
        "log_loss": log_loss(labels, predicted),
        "auc": roc_auc_score(labels, predicted),
        "brier": brier_score_loss(labels, predicted),
        "calibration_error": 0.05,
    }
    assert expected == pytest.approx(metrics("binary", labels, predicted))
    assert metrics("regression", np.array([1.0, 2.0]), np.array([4.0, 6.0])) == {
        "rmse": pytest.approx(12.5**0.5),
        "mae": 3.5,
    }


def test_one_class_alone_has_no_auc() -> None:
    """Where nothing was missed, ranking means nothing: the metric is absent."""
    assert metrics("binary", np.zeros(3), np.full(3, 0.5))["auc"] is None


def test_certain_and_wrong_costs_much_but_not_infinity() -> None:
    """A probability of 0 for what happened is a large, finite loss; no number stays none."""
    found = row_losses("binary", np.array([1.0, 1.0, 0.0]), np.array([0.0, np.nan, 0.0]))
    assert found.tolist() == [pytest.approx(36.04, abs=0.01), pytest.approx(np.nan, nan_ok=True), 0.0]


@given(groups=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=1, max_size=40))
def test_rates_that_came_true_are_no_error(groups: list[tuple[int, int]]) -> None:
    """Where each probability is the rate of the rows that were given it, the error is 0, however the rows are grouped."""
    ones, sizes = (np.array(side) for side in zip(*((min(pair), max(pair)) for pair in groups), strict=True))
    labels = np.concatenate([np.arange(size) < one for one, size in zip(ones, sizes, strict=True)]).astype(float)
    assert calibration_error(labels, np.repeat(ones / sizes, sizes)) == pytest.approx(0, abs=1e-12)


@given(judged())
def test_calibration_error_is_between_none_and_all(rows: tuple[Floats, Floats]) -> None:
    """It is at least the distance of the mean probability from the rate, and at most the mean distance from the labels."""
    labels, predicted = rows
    found = calibration_error(labels, predicted)
    assert found is not None
    assert (
        abs(labels.mean() - predicted.mean()) - 1e-12 <= found <= np.abs(labels - predicted).mean() + 1e-12 <= 1 + 2e-12
    )


@given(rows=judged(), seed=st.integers(0, 99))
def test_order_of_rows_is_nothing_to_a_calibration_error(rows: tuple[Floats, Floats], seed: int) -> None:
    """Shuffled rows have the very same error, to the last bit."""
    labels, predicted = rows
    order = np.random.default_rng(seed).permutation(len(labels))
    assert calibration_error(labels, predicted) == calibration_error(labels[order], predicted[order])


@given(values=arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 1)), groups=st.integers(0, 20))
def test_groups_are_equally_full_but_for_ties(values: Floats, groups: int) -> None:
    """Groups are in the order of values and part no equal ones; of different values each has its share, rounded."""
    codes = equally_full(values, groups)
    assert (np.diff(codes[np.argsort(values, kind="stable")]) >= 0).all()
    assert len(np.unique(values)) == len({*zip(values.tolist(), codes.tolist(), strict=True)})
    sizes = np.bincount(equally_full(np.arange(len(values)) / 1.0, groups), minlength=groups)
    assert max(sizes) - min(sizes) <= 1


def test_sure_and_always_wrong_is_the_worst() -> None:
    """A model that is certain of what never happens errs by all there is; one that never commits, by half."""
    assert (
        calibration_error(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == 0
    )  # two rows are one group: one of two came true
    labels = np.repeat([0.0, 1.0], 500)
    assert calibration_error(labels, 1 - labels) == 1
    assert calibration_error(np.ones(500), np.full(500, 0.5)) == 0.5


def test_chance_alone_stays_below_the_gate_s_bound() -> None:
    """Of calibrated models on as few rows as the gate takes, none in two hundred is called uncalibrated."""
    rng, errors = np.random.default_rng(2), []
    for _ in range(200):
        chances = rng.uniform(0.3, 0.7, 1000)
        errors.append(calibration_error((rng.random(1000) < chances).astype(float), chances))
    assert max(error for error in errors if error is not None) < 0.1


def test_no_rows_have_no_calibration_error() -> None:
    """Nothing was measured, and that is no error of 0."""
    assert calibration_error(np.empty(0), np.empty(0)) is None
