"""The baseline's medians or rates by groups of rows, looked up without pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ratchet.models.compiled.contributions import Contributions
from ratchet.use_case.contract import Columns

Floats = npt.NDArray[np.float64]
SEPARATOR = "\x1f"
"""Between the values in the name of a group."""


@dataclass(frozen=True)
class CompiledGroups:
    """For each level, finest first: the columns of its groups, and the number of each group by its name."""

    levels: Sequence[tuple[Sequence[str], Mapping[str, float]]]

    def numbers(self, columns: Columns) -> Floats:
        """One number per row, shape (n,). Raises KeyError if a column is missing."""
        rows = len(next(iter(columns.values())))
        by_level = [_names([columns[name] for name in names], rows) for names, _ in self.levels]
        return np.array([self._number(groups) for groups in zip(*by_level, strict=True)], np.float64)

    def number(self, row: Mapping[str, Any]) -> float:
        """The number of one row of plain values. Raises KeyError if a column is missing."""
        return float(self.numbers({name: np.array([value], object) for name, value in row.items()})[0])

    def contributions(self, columns: Columns) -> Contributions:
        """A group's number is a base value, to which nothing is added."""
        numbers = self.numbers(columns)
        return Contributions((), numbers, np.empty((len(numbers), 0)), "prediction")

    def _number(self, groups: Iterable[str | None]) -> float:
        """The number of the finest group that is known."""
        for group, (_, numbers) in zip(groups, self.levels, strict=True):
            if group is not None and group in numbers:
                return numbers[group]
        return float("nan")


def group_parts(pipeline: Any) -> list[Any] | None:
    """What `groups` needs, as plain data: for each level its columns, and the names and numbers of its groups.

    None if the pipeline is not a `BackoffBaseline` alone.
    """
    baseline = pipeline[-1]
    if len(pipeline) != 1 or not hasattr(baseline, "keys_"):
        return None
    levels = zip(baseline.levels, baseline.keys_, baseline.values_, strict=True)
    return [[list(columns), groups.tolist(), numbers.tolist()] for columns, groups, numbers in levels]


def groups(levels: Sequence[tuple[Sequence[str], Sequence[str], Sequence[float]]]) -> CompiledGroups:
    """The inverse of `group_parts`."""
    return CompiledGroups([(columns, dict(zip(groups, numbers, strict=True))) for columns, groups, numbers in levels])


def _names(columns: Sequence[npt.NDArray[Any]], rows: int) -> Iterable[str | None]:
    """The name of each row's group: "" without columns, None if a value is missing."""
    if not columns:
        return [""] * rows
    texts = zip(*(map(_text, column.tolist()) for column in columns), strict=True)
    return [None if None in row else SEPARATOR.join(row) for row in texts]


def _text(value: Any) -> str | None:
    return None if value is None or value != value else str(value)
