"""Is a model too good to be true? This measures how exactly a linear fit on its inputs gives the label on other rows.

If a label is a sum, difference, product or quotient of its inputs, these are rarely known before it, whatever the use case
declares: `casual + registered = cnt`, `distance / duration = speed`. `ratchet init`, `ratchet check` and the gate use the same
measure. It needs only NumPy and pandas.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ratchet.core.frozen import Frozen
from ratchet.models.metrics import Floats, finite, usable
from ratchet.use_case.contract import Array, Columns, Kind, Task

MOST_EXPLAINED = 0.99
"""A linear fit may explain at most this share of the label's variance without a person's reason: outcomes have noise."""
LEAST_ERROR = 0.1
"""A model's error must be at least this share of the reference's error, unless a person gives a reason."""
FEWEST, MOST = 30, 6000
"""The smallest number of rows for a fit, and the largest number that is used."""
PARTS = 3
OUTERMOST = (0.002, 0.998)
"""Labels outside these quantiles are left out."""
ROUNDING = 1e-6
"""A linear fit of an exact identity leaves at most this share unexplained."""
DIGITS = 6
"""Digits of a result that are kept: further ones depend on the threads of the linear algebra."""
RIDGES = (0.0, 1e-6, 1e-3)
"""Penalties on large weights, as a share of the rows; the best fit counts. Without a penalty, nearly equal inputs hide a leak:
their weights have no bounds, so that a row in which they differ may get any prediction. With a penalty, a leak through the
difference of two nearly equal inputs is missed."""
FLAT = 1e-12
"""A column that varies less than this, as a share of its largest value, is constant."""


class LinearFit(Frozen):
    """The share of the label's variance that a fit on the inputs explains, 0 to 1; None if there are too few labels or all
    are equal. Above MOST_EXPLAINED, `columns` are the fewest inputs that explain (nearly) as much."""

    explained: float | None
    columns: tuple[str, ...] = ()

    @property
    def is_too_good(self) -> bool:
        return self.explained is not None and self.explained > MOST_EXPLAINED


def linear_fit(task: Task, columns: Columns, inputs: Mapping[str, Kind], labels: Floats) -> LinearFit:
    """The best least-squares fit of the labels, or of the logarithms of their absolute values, on the inputs.

    A number enters as itself, as the logarithm of its absolute value, as whether it is present, and as the mean label of its
    value; a category enters as the mean label of its value. For a binary label, the best threshold of the fit counts.
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
    """At most MOST usable rows in random order: the order of the table may be periodic."""
    return np.random.default_rng(0).permutation(np.flatnonzero(is_usable))[:MOST]


def _targets(task: Task, labels: Floats) -> Iterator[Floats]:
    """The targets of the fit: the labels and, if most are not 0, the logarithms of their absolute values; NaN is left out.

    So are the most extreme numbers: a few typing errors would make up most of the variance and hide the other labels.
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
    """The columns that represent each input, and the target, for the rows to fit and for the rows to judge.

    Columns have mean 0 over the fitted rows. `reduced` and `reduced_target` are few rows that give the same least-squares fits.
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
        """Ridge regression (Hoerl & Kennard 1970, doi:10.1080/00401706.1970.10488634), with the penalty as further rows."""
        matrix = _matrix(self.reduced, names)
        bound = np.sqrt(ridge * len(self.fitted_target)) * np.eye(matrix.shape[1])
        target = np.append(self.reduced_target, np.zeros(len(bound)))
        return np.asarray(np.linalg.lstsq(np.vstack([matrix, bound]), target, rcond=None)[0])

    def squares(self, task: Task, names: Sequence[str]) -> float:
        """The smallest sum of squared errors on the judged rows, for the fits on the fitted rows.

        Predictions are clipped to the range of the fitted labels.
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
        """The standard deviation of each input's part of the fit."""
        weights, found, start = self.weights(names, RIDGES[-1]), [], 0
        for block in (self.fitted[name] for name in names):
            found.append(float((block @ weights[start : start + block.shape[1]]).std()))
            start += block.shape[1]
        return found


@dataclass(frozen=True)
class _Trial:
    """One target and the inputs, in three parts of rows: the first gives the mean labels, the second the fit; the third is
    judged."""

    task: Task
    columns: Columns
    inputs: Mapping[str, Kind]
    target: Floats

    def explained(self, names: Sequence[str]) -> float | None:
        """The share of the target's variance that these inputs explain; each row is judged once."""
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
        """The inputs, ordered by their contribution to the fit, largest first."""
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
    """The columns that represent an input, with NaN for a missing value; shape (rows, 1) or (rows, 4)."""
    means = _means(values, target, taught)
    if kind == "category":
        return means[:, np.newaxis]
    numbers = np.asarray(values, dtype=np.float64)
    known = np.isfinite(numbers)
    numbers = np.where(known, numbers / (np.abs(numbers[known]).max(initial=0.0) or 1.0), np.nan)
    return np.column_stack([numbers, _logarithm(numbers), known, means])


def _logarithm(numbers: Floats) -> Floats:
    """The logarithms of the absolute values; NaN for 0."""
    size = np.abs(numbers)
    return np.log(size, out=np.full(len(size), np.nan), where=size > 0)


def _means(values: Array, target: Floats, taught: Array) -> Floats:
    """For each row, the mean target of the `taught` rows with the same value; NaN if there is none."""
    import pandas as pd

    codes = pd.factorize(values, use_na_sentinel=False)[0]
    sums, counts = (np.bincount(codes[taught], weights, codes.max() + 1) for weights in (target[taught], None))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[codes], dtype=np.float64)


def _scaled(block: Floats, fitted: Array) -> Floats:
    """The block with mean 0 and deviation 1 over the fitted rows. Missing values become 0; constant columns are dropped."""
    known = np.isfinite(block)
    counts = np.maximum(known[fitted].sum(axis=0), 1)
    centered = np.where(known, block - np.where(known, block, 0.0)[fitted].sum(axis=0) / counts, 0.0)
    deviations = np.sqrt((centered[fitted] ** 2).sum(axis=0) / counts)
    varies = deviations > FLAT
    return np.asarray(centered[:, varies] / deviations[varies], dtype=np.float64)


def _by_threshold(fitted: Floats, labels: Floats, judged: Floats) -> tuple[float, Floats]:
    """How well the best threshold of the fitted scores separates the labels; for each judged score, the mean on its side."""
    order = np.argsort(fitted, kind="stable")
    scores, sums, below = fitted[order], np.cumsum(labels[order]), np.arange(1, len(labels) + 1)
    above = np.maximum(len(labels) - below, 1)
    between = sums**2 / below + (sums[-1] - sums) ** 2 / above
    between[:-1][scores[1:] == scores[:-1]] = -np.inf
    cut = int(np.argmax(between))
    low, high = sums[cut] / below[cut], (sums[-1] - sums[cut]) / above[cut]
    threshold = (scores[cut] + scores[min(cut + 1, len(scores) - 1)]) / 2
    return float(between[cut]), np.where(judged <= threshold, low, high)
