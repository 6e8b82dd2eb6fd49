"""Plots of a training run, as PNG. The same numbers give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from ratchet.models.metrics import Floats, equally_full
from ratchet.storage.files import atomic
from ratchet.use_case.contract import Task

GROUPS = 20
MOST_POINTS = 1000


def write(directory: Path, pictures: Mapping[str, bytes]) -> None:
    """Write these pictures (name → PNG) to a folder, where `dvc plots` finds them, and delete all other files there."""
    for name, picture in pictures.items():
        with atomic(directory / f"{name}.png") as temporary:
            temporary.write_bytes(picture)
    for path in directory.iterdir():
        if path.stem not in pictures:
            path.unlink()


def curve(losses: Sequence[float], best: int) -> bytes:
    """The loss on the early-stopping rows after each tree, and the tree with the lowest loss."""
    figure, axes = _canvas("trees", "loss on the early-stopping rows")
    axes.plot(range(1, len(losses) + 1), losses)
    axes.axvline(best, linestyle="--", color="grey")
    return _png(figure)


def bars(gains: Mapping[str, float]) -> bytes:
    """How much the splits of each column reduced the loss."""
    figure, axes = _canvas("total gain of its splits", "", height=1.0 + 0.22 * len(gains))
    names = sorted(gains, key=lambda name: gains[name])
    axes.barh(names, [gains[name] for name in names])
    return _png(figure)


def of_predictions(task: Task, labels: Floats, predicted: Floats) -> dict[str, bytes]:
    """The pictures that show how good the predictions of a task are: name → PNG."""
    if task == "regression":
        return {"predicted_and_actual": calibration(labels, predicted, "mean label")}
    return {
        "reliability": calibration(labels, predicted, "observed rate of ones"),
        "roc": roc(labels, predicted),
        "precision_recall": precision_recall(labels, predicted),
    }


def calibration(labels: Floats, predicted: Floats, label: str) -> bytes:
    """Mean label against mean prediction in groups of about equally many rows, in the order of predictions."""
    figure, axes = _canvas("mean prediction", label)
    means = _group_means(labels, predicted)
    axes.axline((means[0, 0], means[0, 0]), slope=1, linestyle="--", color="grey")
    axes.plot(means[:, 0], means[:, 1], marker="o")
    return _png(figure)


def roc(labels: Floats, predicted: Floats) -> bytes:
    """The ROC curve: the shares of ones and of zeros that are above each threshold. The diagonal is chance."""
    figure, axes = _canvas("share of zeros above the threshold", "share of ones above the threshold")
    zeros, ones, _ = roc_curve(labels, predicted)
    axes.axline((0, 0), slope=1, linestyle="--", color="grey")
    axes.plot(_thinned(zeros), _thinned(ones))
    return _png(figure)


def precision_recall(labels: Floats, predicted: Floats) -> bytes:
    """Precision against recall for each threshold. The horizontal line is chance: the rate of ones among all rows."""
    figure, axes = _canvas("recall: share of ones above the threshold", "precision: rate of ones above it")
    precision, recall, _ = precision_recall_curve(labels, predicted, drop_intermediate=True)
    axes.axhline(labels.mean(), linestyle="--", color="grey")
    axes.plot(_thinned(recall), _thinned(precision), drawstyle="steps-post")
    return _png(figure)


def _group_means(labels: Floats, predicted: Floats) -> Floats:
    """Mean prediction and mean label of each group that has rows, shape (g, 2)."""
    order = np.lexsort((labels, predicted))
    codes = equally_full(predicted[order], GROUPS)
    sizes, *sums = (np.bincount(codes, side[order]) for side in (np.ones(len(labels)), predicted, labels))
    return np.column_stack(sums)[sizes > 0] / sizes[sizes > 0, np.newaxis]


def _thinned(values: Floats) -> Floats:
    """At most MOST_POINTS of a curve's points, evenly spaced and including both ends. A picture cannot show more."""
    return values[np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(np.int64))]


def _canvas(x: str, y: str, height: float = 4.5) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
