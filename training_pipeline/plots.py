"""Pictures of a training run, as PNG: the same numbers are the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
GROUPS = 20


def curve(losses: Sequence[float], best: int) -> bytes:
    """The loss on the early-stopping rows after each tree, and where it was least."""
    figure, axes = _canvas("trees", "loss on the early-stopping rows")
    axes.plot(range(1, len(losses) + 1), losses)
    axes.axvline(best, linestyle="--", color="grey")
    return _png(figure)


def bars(gains: Mapping[str, float]) -> bytes:
    """How much of the loss each column took away."""
    figure, axes = _canvas("total gain of its splits", "", height=1.0 + 0.22 * len(gains))
    names = sorted(gains, key=lambda name: gains[name])
    axes.barh(names, [gains[name] for name in names])
    return _png(figure)


def calibration(labels: Floats, predicted: Floats) -> bytes:
    """Mean label against mean prediction in groups of equally many rows, in the order of predictions."""
    figure, axes = _canvas("mean prediction", "mean label")
    groups = np.array_split(np.argsort(predicted, kind="stable"), min(GROUPS, len(predicted)))
    means = np.array([[predicted[rows].mean(), labels[rows].mean()] for rows in groups])
    axes.axline((means[0, 0], means[0, 0]), slope=1, linestyle="--", color="grey")
    axes.plot(means[:, 0], means[:, 1], marker="o")
    return _png(figure)


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
