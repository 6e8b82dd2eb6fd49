"""Find a baseline that explains nothing: the gate would refuse it, and compare every candidate with a constant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from authoring.check.finding import Finding
from authoring.check.source_lines import Declaration
from ratchet.models import groups
from ratchet.models.groups import LEAST, Spread
from ratchet.models.metrics import usable
from ratchet.use_case.contract import Columns, UseCase


def check_baseline(use_case: UseCase, columns: Columns, every: int, where: Declaration) -> Iterator[Finding]:
    """`columns` are labelled requests with all possible inputs. Each of them represents `every` requests.

    A baseline without groups is a choice, not a mistake.
    """
    levels = [level for level in use_case.baseline if level]
    measured = _Measured(use_case, columns)
    if not levels or any(not measured.spread(level, 2).is_chance for level in levels):
        return
    enough = max(2, LEAST // every)
    shares = {name: measured.spread([name], enough) for name in use_case.inputs if name in columns}
    found = {name: spread.explained for name, spread in shares.items() if not spread.is_chance}
    best = max(found, key=lambda name: found[name], default=None)
    yield Finding(
        "baseline-explains-nothing",
        where.use_case("baseline"),
        f"the baseline groups by {' and '.join(levels[0])}, which says no more of {use_case.label} than chance: it would not "
        "beat one value for all rows, and the gate would refuse it",
        f"Set `baseline=(({best!r},), ())`: of all inputs, {best!r} explains most of {use_case.label} by itself"
        if best
        else f"No input explains {use_case.label} by groups of {LEAST} rows or more. Cut a number into bands in `on_demand`, "
        "make these an input and group by them. Or set `baseline=((),)`, one value for all rows, which the gate refuses as "
        "well: then the first to serve is a candidate that beats it, if one does",
    )


class _Measured:
    """How much groups explain of the usable labels."""

    def __init__(self, use_case: UseCase, columns: Columns) -> None:
        self._rows = usable(use_case.task, columns["label"])
        self._columns, self._label = columns, np.asarray(columns["label"], dtype=np.float64)[self._rows]

    def spread(self, level: Sequence[str], least: int) -> Spread:
        """The spread between the groups of a level. Groups with fewer rows than `least` are merged."""
        found = groups.codes([self._columns[name][self._rows] for name in level])
        return groups.spread(groups.merged(found, least), self._label)
