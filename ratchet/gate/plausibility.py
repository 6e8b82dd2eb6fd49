"""Is a model too good to be true? How exactly a linear fit on its inputs gives the label away, on rows it did not learn from.

A label that is a sum, a difference, a product or a quotient of its inputs is rarely known before them, whatever an input is
said to be: `casual + registered = cnt`, `distance / duration = speed`. The same measure is asked by `ratchet init`,
`ratchet check` and the gate. It needs NumPy and pandas alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ratchet.core.settings import Frozen
from ratchet.models.metrics import Floats, finite, usable
from ratchet.use_case.contract import Array, Columns, Kind, Task

MOST_EXPLAINED = 0.99
"""The largest share of the label's variance that a linear fit may explain without a person's reason: outcomes have noise."""
LEAST_ERROR = 0.1
"""The least error, as a share of the reference's, that a model may have without one."""
FEWEST, MOST = 30, 6000
"""Rows without which nothing can be said, and rows that are enough to say it."""
PARTS = 3
OUTERMOST = (0.002, 0.998)
"""Labels beyond these quantiles are no evidence."""
ROUNDING = 1e-6
"""What a linear fit leaves unexplained of an exact identity, at most."""
DIGITS = 6
"""Of a figure: further ones depend on the threads of the linear algebra."""
RIDGES = (0.0, 1e-6, 1e-3)
"""How strongly large weights are kept down, as a share of the rows; the best fit counts. Without it inputs that say nearly
the same hide a leak: their weights have no bounds, and a row that parts them is predicted as anything. With it a difference
of two nearly equal inputs is lost."""
FLAT = 1e-12
"""A column that varies less than this, as a share of its largest value, is constant."""


class LinearFit(Frozen):
    """The share of the label's variance that a fit on the inputs explains, 0 to 1; None where there are too few labels or all
    are equal. Above MOST_EXPLAINED, `columns` are the fewest inputs that explain (nearly) as much."""

    explained: float | None
    columns: tuple[str, ...] = ()

    @property
    def is_too_good(self) -> bool:
        return self.explained is not None and self.explained > MOST_EXPLAINED


def linear_fit(task: Task, columns: Columns, inputs: Mapping[str, Kind], labels: Floats) -> LinearFit:
    """The best least-squares fit of labels, and of the logarithms of their size, on the inputs.

    A number counts by itself, by the logarithm of its size, by whether it is there and by the mean label of its value; a
    category by the mean label of its value. Of a binary label it is the best threshold of the fit that must explain it.
    """
    rows = _sample(usable(task, labels))
    kept = {name: np.asarray(columns[name])[rows] for name in inputs}
    trials = [_Trial(task, kept, inputs, target) for target in _targets(task, labels[rows])]
    found = [(explained, trial) for trial in trials if (explained := trial.explained(tuple(inputs))) is not None]
    if not found:
        return LinearFit(explained=None)
    explained, trial = max(found, key=lambda pair: pair[0])
    names = trial.fewest(explained) if explained > MOST_EXPLAINED else ()
    return LinearFit(explained=round(explained, DIGITS), columns=names)


def _sample(is_usable: Array) -> Array:
    """At most MOST usable rows in an order that has nothing to do with the table's, which may repeat itself."""
    return np.random.default_rng(0).permutation(np.flatnonzero(is_usable))[:MOST]


def _targets(task: Task, labels: Floats) -> Iterator[Floats]:
    """What is fitted: the labels and, of numbers that are mostly not 0, the logarithm of their size; NaN is left out.

    So are the outermost numbers: a few slips of the pen would be most of the variance, and hide what all others show.
    """
    if task == "binary":
        yield labels
        return
    for target in (labels, _logarithm(labels)):
        known = target[np.isfinite(target)]
        if 2 * len(known) >= len(labels) and len(known):
            least, most = np.quantile(known, OUTERMOST)
            yield np.where((target < least) | (target > most), np.nan, target) if least < most else target


@dataclass(frozen=True)
class _Round:
    """The columns that stand for each input, and the target, of the rows to fit and of the rows to judge.

    Columns have mean 0 over the fitted rows. `reduced` and `reduced_target` are few rows with the same least-squares fits.
    """

    fitted: Mapping[str, Floats]
    judged: Mapping[str, Floats]
    fitted_target: Floats
    judged_target: Floats
    reduced: Mapping[str, Floats]
    reduced_target: Floats

    @classmethod
    def of(cls, blocks: Mapping[str, Floats], target: Floats, fitted: Array, judged: Array) -> _Round:
        own = {name: block[fitted] for name, block in blocks.items()}
        stacked = np.column_stack([*own.values(), target[fitted] - target[fitted].mean()])
        triangle: Floats = np.asarray(np.linalg.qr(stacked, mode="r"))
        ends = np.cumsum([block.shape[1] for block in own.values()])
        reduced = dict(zip(own, np.split(triangle, ends, axis=1), strict=False))
        others = {name: block[judged] for name, block in blocks.items()}
        return cls(own, others, target[fitted], target[judged], reduced, triangle[:, -1])

    def weights(self, names: Sequence[str], ridge: float) -> Floats:
        """Ridge regression (Hoerl & Kennard 1970, doi:10.1080/00401706.1970.10488634) by further rows."""
        matrix = _matrix(self.reduced, names)
        bound = np.sqrt(ridge * len(self.fitted_target)) * np.eye(matrix.shape[1])
        target = np.append(self.reduced_target, np.zeros(len(bound)))
        return np.asarray(np.linalg.lstsq(np.vstack([matrix, bound]), target, rcond=None)[0])

    def squares(self, task: Task, names: Sequence[str]) -> float:
        """The least sum of squared errors on the judged rows, by what was learnt from the fitted ones.

        A prediction lies within the fitted labels.
        """
        weights = np.column_stack([self.weights(names, ridge) for ridge in RIDGES])
        if task == "regression":
            predicted = self.fitted_target.mean() + _matrix(self.judged, names) @ weights
            inside = np.clip(predicted, self.fitted_target.min(), self.fitted_target.max())
            return float(((self.judged_target[:, np.newaxis] - inside) ** 2).sum(axis=0).min())
        matrices = (_matrix(blocks, names) for blocks in (self.fitted, self.judged))
        scores = (np.column_stack([matrix @ weights, matrix]).T for matrix in matrices)
        parted = (_by_threshold(one, self.fitted_target, other) for one, other in zip(*scores, strict=True))
        predicted = max(parted, key=lambda found: found[0])[1]
        return float(((self.judged_target - predicted) ** 2).sum())

    def contributions(self, names: Sequence[str]) -> list[float]:
        """How much the part of each input in the fit varies."""
        weights, found, start = self.weights(names, RIDGES[-1]), [], 0
        for block in (self.fitted[name] for name in names):
            found.append(float((block @ weights[start : start + block.shape[1]]).std()))
            start += block.shape[1]
        return found


@dataclass(frozen=True)
class _Trial:
    """One target and the inputs, in three parts: one teaches the means of values, one the fit, and the third is judged."""

    task: Task
    columns: Columns
    inputs: Mapping[str, Kind]
    target: Floats

    def explained(self, names: Sequence[str]) -> float | None:
        """The share of the target's variance that these inputs explain, over all rows as they are judged in turn."""
        known = self.target[np.isfinite(self.target)]
        if len(known) < FEWEST or np.ptp(known) <= FLAT * np.abs(known).max():
            return None
        if not names:
            return 0.0
        total = sum(float(((each.judged_target - self._center) ** 2).sum()) for each in self._rounds)
        left = sum(each.squares(self.task, names) for each in self._rounds)
        share = finite(1 - left / total)
        return None if share is None else max(share, 0.0)

    def fewest(self, explained: float) -> tuple[str, ...]:
        """The inputs without which the fit is clearly worse, in the order of `inputs`."""
        bound = max(MOST_EXPLAINED, 1 - max(2 * (1 - explained), ROUNDING))
        ranked = self._ranked()
        count = 1 + bisect_left(range(1, len(ranked)), True, key=lambda count: self._is(ranked[:count], bound))
        kept = ranked[:count]
        for name in ranked[count - 1 :: -1]:
            others = [other for other in kept if other != name]
            kept = others if self._is(others, bound) else kept
        return tuple(name for name in self.inputs if name in kept)

    def _is(self, names: Sequence[str], bound: float) -> bool:
        return (self.explained(names) or 0.0) > bound

    def _ranked(self) -> list[str]:
        """The inputs, those that move the fit most first."""
        names = list(self.inputs)
        moved = np.sum([each.contributions(names) for each in self._rounds], axis=0)
        return [names[place] for place in np.argsort(-np.round(moved / (moved.max() or 1.0), DIGITS), kind="stable")]

    @cached_property
    def _center(self) -> float:
        return float(np.mean([each.judged_target.mean() for each in self._rounds]))

    @cached_property
    def _rounds(self) -> list[_Round]:
        return [self._round(number) for number in range(PARTS)]

    def _round(self, number: int) -> _Round:
        known = np.flatnonzero(np.isfinite(self.target))
        taught, fitted, judged = (known[(number + part) % PARTS :: PARTS] for part in range(PARTS))
        target = self.target / np.abs(self.target[known]).max()
        blocks = {
            name: _scaled(_block(self.columns[name], kind, target, taught), fitted)
            for name, kind in self.inputs.items()
        }
        return _Round.of(blocks, target, fitted, judged)


def _matrix(blocks: Mapping[str, Floats], names: Sequence[str]) -> Floats:
    return np.column_stack([blocks[name] for name in names])


def _block(values: Array, kind: Kind, target: Floats, taught: Array) -> Floats:
    """The columns that stand for an input, NaN where it says nothing; shape (rows, 1) or (rows, 4)."""
    means = _means(values, target, taught)
    if kind == "category":
        return means[:, np.newaxis]
    numbers = np.asarray(values, dtype=np.float64)
    known = np.isfinite(numbers)
    numbers = np.where(known, numbers / (np.abs(numbers[known]).max(initial=0.0) or 1.0), np.nan)
    return np.column_stack([numbers, _logarithm(numbers), known, means])


def _logarithm(numbers: Floats) -> Floats:
    """Of their size; NaN where it has none."""
    size = np.abs(numbers)
    return np.log(size, out=np.full(len(size), np.nan), where=size > 0)


def _means(values: Array, target: Floats, taught: Array) -> Floats:
    """For each row the mean target of the taught rows that have its value; NaN where there is none."""
    import pandas as pd

    codes = pd.factorize(values, use_na_sentinel=False)[0]
    sums, counts = (np.bincount(codes[taught], weights, codes.max() + 1) for weights in (target[taught], None))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[codes], dtype=np.float64)


def _scaled(block: Floats, fitted: Array) -> Floats:
    """Mean 0 and deviation 1 over the fitted rows; 0 where there is no value, and no column that is constant there."""
    known = np.isfinite(block)
    counts = np.maximum(known[fitted].sum(axis=0), 1)
    centered = np.where(known, block - np.where(known, block, 0.0)[fitted].sum(axis=0) / counts, 0.0)
    deviations = np.sqrt((centered[fitted] ** 2).sum(axis=0) / counts)
    varies = deviations > FLAT
    return np.asarray(centered[:, varies] / deviations[varies], dtype=np.float64)


def _by_threshold(fitted: Floats, labels: Floats, judged: Floats) -> tuple[float, Floats]:
    """How well the best threshold of the fitted scores parts the labels, and for the judged scores the mean on their side."""
    order = np.argsort(fitted, kind="stable")
    scores, sums, below = fitted[order], np.cumsum(labels[order]), np.arange(1, len(labels) + 1)
    above = np.maximum(len(labels) - below, 1)
    between = sums**2 / below + (sums[-1] - sums) ** 2 / above
    between[:-1][scores[1:] == scores[:-1]] = -np.inf
    cut = int(np.argmax(between))
    low, high = sums[cut] / below[cut], (sums[-1] - sums[cut]) / above[cut]
    threshold = (scores[cut] + scores[min(cut + 1, len(scores) - 1)]) / 2
    return float(between[cut]), np.where(judged <= threshold, low, high)
