"""The baseline: the median or rate of a group of past rows, or of a coarser group if the group has too few rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator

from ratchet.models.compiled.groups import SEPARATOR
from ratchet.models.groups import LEAST
from ratchet.use_case.contract import Task

Floats = npt.NDArray[np.float64]


class BackoffBaseline(BaseEstimator):  # type: ignore[misc] # sklearn has no types
    """The median (regression) or rate (binary) of a row's finest group with at least `min_rows` training rows.

    `levels` are groups of columns, finest first, ending in () for all rows. A row with a missing or unseen value in a group's
    columns falls back to a coarser group. Rates follow Laplace's rule of succession, (k + 1) / (n + 2), so none is 0 or 1.
    """

    __module__ = "ratchet.models"  # by which stored models name it

    def __init__(self, levels: Sequence[tuple[str, ...]], task: Task, min_rows: int = LEAST) -> None:
        self.levels = levels
        self.task = task
        self.min_rows = min_rows

    def fit(self, frame: pd.DataFrame, labels: Floats) -> BackoffBaseline:
        """Learn `keys_` and `values_`: for each level, the sorted names of the groups and the prediction for each group."""
        fitted = [self._fit_level(_group_names(frame, level), labels, bool(level)) for level in self.levels]
        self.keys_ = [keys for keys, _ in fitted]
        self.values_ = [values for _, values in fitted]
        return self

    def _fit_level(self, names: pd.Series[str], labels: Floats, is_group: bool) -> tuple[npt.NDArray[np.str_], Floats]:
        groups = pd.Series(labels, names.index).groupby(names, sort=True)
        size = groups.size()
        values = groups.median() if self.task == "regression" else (groups.sum() + 1) / (size + 2)
        values = values[size >= (self.min_rows if is_group else 1)]
        return np.array(values.index, dtype=np.str_), np.array(values, dtype=np.float64)

    def predict(self, frame: pd.DataFrame) -> Floats:
        """One value per row, shape (n,)."""
        predicted = np.full(len(frame), np.nan)
        for level, keys, values in zip(self.levels, self.keys_, self.values_, strict=True):
            place = pd.Index(keys).get_indexer(pd.Index(_group_names(frame, level)))
            predicted = np.where(
                np.isnan(predicted) & (place >= 0), values[place] if len(values) else np.nan, predicted
            )
        return predicted

    def predict_proba(self, frame: pd.DataFrame) -> Floats:
        """For a binary task: the probabilities of 0 and of 1, shape (n, 2)."""
        rate = self.predict(frame)
        return np.column_stack([1.0 - rate, rate])

    def constant(self) -> BackoffBaseline:
        """A baseline of the last level only: the same value for every row, learnt from the same rows."""
        last = BackoffBaseline(((),), self.task, self.min_rows)
        last.keys_, last.values_ = self.keys_[-1:], self.values_[-1:]
        return last


def _group_names(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series[str]:
    """The values of `columns` as one text per row; missing if any of them is missing."""
    if not columns:
        return pd.Series("", index=frame.index)
    first, *others = columns
    names = frame[first].astype(str)
    for column in others:
        names = names + SEPARATOR + frame[column].astype(str)
    return names.where(frame[list(columns)].notna().all(axis=1))
