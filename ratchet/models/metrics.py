"""The metrics of each task, and in which direction each of them is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, SupportsFloat

import numpy as np
import numpy.typing as npt

from ratchet.use_case.contract import Task

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
GROUPS, LEAST_GROUP = 10, 100
"""The number of groups of a calibration error, and the smallest number of rows in each."""


@dataclass(frozen=True)
class Metric:
    """The title of a metric, and the direction in which it is better."""

    title: str
    better: Literal["lower", "higher"]


METRICS: Mapping[Task, Mapping[str, Metric]] = {
    "regression": {"rmse": Metric("RMSE", "lower"), "mae": Metric("MAE", "lower")},
    "binary": {
        "log_loss": Metric("log loss", "lower"),
        "auc": Metric("AUC", "higher"),
        "brier": Metric("Brier score", "lower"),
        "calibration_error": Metric("calibration error", "lower"),
    },
}


def usable(task: Task, labels: Floats) -> npt.NDArray[np.bool_]:
    """Which labels can be used for training and evaluation: finite numbers or, for a binary task, 0 and 1."""
    return np.asarray(np.isin(labels, (0, 1)) if task == "binary" else np.isfinite(labels))


def metrics(task: Task, labels: Floats, predicted: Floats) -> dict[str, float | None]:
    """The METRICS of the task. RMSE and MAE are in the label's unit; auc is None if all labels are equal."""
    squared = np.mean((labels - predicted) ** 2)
    if task == "regression":
        return {"rmse": finite(np.sqrt(squared)), "mae": finite(np.mean(np.abs(labels - predicted)))}
    from sklearn.metrics import roc_auc_score

    both = len(np.unique(labels)) == 2
    return {
        "log_loss": finite(row_losses(task, labels, predicted).mean()),
        "auc": finite(roc_auc_score(labels, predicted)) if both else None,
        "brier": finite(squared),
        "calibration_error": calibration_error(labels, predicted),
    }


def row_losses(task: Task, labels: Floats, predicted: Floats) -> Floats:
    """The loss of each row, shape (n,): squared error, or minus the log of the probability predicted for the true outcome.

    Probabilities are kept one float64 epsilon away from 0, as scikit-learn's log_loss does.
    """
    if task == "regression":
        return np.asarray((labels - predicted) ** 2)
    likelihood = np.where(labels == 1, predicted, 1.0 - predicted)
    return np.asarray(-np.log(np.clip(likelihood, np.finfo(np.float64).eps, 1.0)))


def calibration_error(labels: Floats, predicted: Floats) -> float | None:
    """How far probabilities are from the observed rates: 0 is perfect, 1 the worst; None without rows.

    The expected calibration error (Naeini, Cooper & Hauskrecht 2015, doi:10.1609/aaai.v29i1.9602) over groups of equal size
    (Nguyen & O'Connor 2015, doi:10.18653/v1/D15-1182): the mean over rows of |rate − mean probability| in their group. Small
    groups bias it upwards (Roelofs et al. 2022, arXiv:2012.08668), hence LEAST_GROUP.
    """
    rows = len(predicted)
    if not rows:
        return None
    order = np.lexsort((labels, predicted))  # sums of floats must not depend on the order of the rows
    labels, predicted = labels[order], predicted[order]
    groups = equally_full(predicted, min(GROUPS, rows // LEAST_GROUP))
    return finite(np.abs(np.bincount(groups, labels - predicted)).sum() / rows)


def equally_full(values: Floats, groups: int) -> Codes:
    """Each row's group, from 0, in the order of values. Equal values are in the same group, so some groups may be empty."""
    ascending = np.sort(values)
    first, last = (np.searchsorted(ascending, values, side) for side in ("left", "right"))
    return np.asarray((first + last) * max(groups, 1) // (2 * len(values)), dtype=np.int64)


def finite(number: SupportsFloat) -> float | None:
    """The float, or None if it is NaN or infinite."""
    return float(number) if math.isfinite(float(number)) else None
