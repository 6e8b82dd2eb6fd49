"""Mistakes that keep the gate from judging a model: missing columns, windows without labels, too few blocks, small slices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

import numpy as np
import pandas as pd

from authoring.check.features import Features
from authoring.check.finding import Finding
from authoring.check.sample import DIRT
from authoring.check.source_lines import Declaration
from ratchet.core.clock import local_time
from ratchet.core.settings import BLOCKS
from ratchet.core.text import did_you_mean
from ratchet.project.run import PeriodName, Run
from ratchet.use_case.contract import Array, Columns


def check_columns(run: Run, columns: Columns, where: Declaration) -> Iterator[Finding]:
    """Check that a request has every column that the use case or its gate names, and that the baseline groups by inputs."""
    use_case, gate = run.use_case, run.settings.gate
    named: list[tuple[str, str, Iterable[str], Collection[str]]] = [
        ("inputs", where.use_case("inputs"), use_case.inputs, columns),
        ("baseline", where.use_case("baseline"), chain(*use_case.baseline), use_case.inputs),
        ("gate.slices", where.setting("gate", "slices"), gate.slices, columns),
        ("gate.block", where.setting("gate", "block"), () if gate.block in BLOCKS else (gate.block,), columns),
    ]
    for keyword, place, names, known in named:
        owners = (
            "is none of `inputs`"
            if known is use_case.inputs
            else "neither a request, nor a lookup, nor `on_demand` has"
        )
        for name in dict.fromkeys(names):
            if name not in known:
                yield Finding(
                    "unknown-column",
                    place,
                    f"`{keyword}` names {name!r}, which {owners}",
                    f"Name a column that there is{did_you_mean(name, known)}",
                )


def check_windows(features: Features, columns: Columns, where: Declaration) -> Iterator[Finding]:
    """Check that the early-stopping and holdout windows have enough rows whose labels are known in time."""
    run = features.sample.run
    stopping = _Expected.of("early_stopping", run, features, columns)
    holdout = _Expected.of("holdout", run, features, columns)
    for expected in (stopping, holdout):
        if not expected.known.any():
            yield _nothing_in_time(expected, columns, where)
    if holdout.known.any():
        yield from _too_few(run, holdout, columns, where)


EARLIEST = 0.01
"""The share of rows that may lie long before the others, because of a wrong clock or a late batch."""


@dataclass(frozen=True)
class _Expected:
    """The sampled rows that represent a window: `inside` are in it, `known` are those whose labels are known in time.

    Each row represents `weight` rows of the window, each entity `thinned` entities. If the sample does not reach back to the
    window's beginning (`covered` is False), all of its rows represent the window.
    """

    name: PeriodName
    start: datetime
    end: datetime
    until: datetime
    inside: Array
    known: Array
    weight: float
    covered: bool
    thinned: int

    @classmethod
    def of(cls, name: PeriodName, run: Run, features: Features, columns: Columns) -> _Expected:
        period = run.period(name)
        until = period.end if name == "early_stopping" else run.as_of("training")
        timestamps, known_at = columns["event_timestamp"], columns["label_known_at"]
        inside = (timestamps >= _naive(period.start)) & (timestamps < _naive(period.end))
        (first, last), thinned = _span(timestamps), features.sample.thinned
        weight = float(features.every * thinned)
        covered = bool(first <= _naive(period.start) + EARLIEST * (last - first)) or first == last
        if covered:
            known = inside & (known_at <= _naive(until))
            return cls(name, period.start, period.end, until, inside, known, weight, covered, thinned)
        share = (period.end - period.start) / timedelta(seconds=(last - first) / np.timedelta64(1, "s"))
        known = known_at - timestamps <= _naive(until) - _naive(period.start)
        everything = np.ones(len(timestamps), dtype=bool)
        return cls(name, period.start, period.end, until, everything, known, weight * share, covered, thinned)


def _nothing_in_time(expected: _Expected, columns: Columns, where: Declaration) -> Finding:
    place, name = where.setting("windows", expected.name), expected.name.replace("_", "-")
    if not expected.inside.any():
        first, last = (instant.astype("datetime64[D]") for instant in _span(columns["event_timestamp"]))
        problem = f"no example lies in the {name} window: examples go from {first} to {last}"
        return Finding("window-empty", place, problem, "Run `ratchet advance` to when there is data, or set `windows`")
    delay = np.median(columns["label_known_at"] - columns["event_timestamp"]) / np.timedelta64(1, "D")
    return Finding(
        "label-too-late",
        place,
        f"no label of the {name} window is known in time: the window begins {(expected.until - expected.start).days} days "
        f"before its labels are needed, and a label takes {delay:.1f} days to be known",
        f"Set a longer `windows.{expected.name}`: longer than labels take",
    )


def _too_few(run: Run, holdout: _Expected, columns: Columns, where: Declaration) -> Iterator[Finding]:
    gate, use_case = run.settings.gate, run.use_case
    rows = int(holdout.known.sum() * holdout.weight)
    if rows < gate.min_rows:
        yield Finding(
            "holdout-too-small",
            where.setting("windows", "holdout"),
            f"the holdout will have about {rows:,} rows, and the gate wants {gate.min_rows:,}",
            "Set a longer `windows.holdout`, or lower `gate.min_rows`",
        )
    blocks = _blocks(gate.block, use_case.timezone, holdout, columns)
    if blocks < gate.min_blocks:
        yield Finding(
            "block",
            where.setting("gate", "block"),
            f"the holdout will have {blocks} block{'s' * (blocks != 1)} by {gate.block!r} to resample, and the gate wants "
            f"{gate.min_blocks}",
            "Set `gate.block` to something finer, or a longer `windows.holdout`",
        )
    for column in gate.slices:
        yield from _small_slices(column, holdout, columns[column], gate.min_slice_rows, where)


def _small_slices(column: str, holdout: _Expected, values: Array, fewest: int, where: Declaration) -> Iterator[Finding]:
    codes, found = pd.factorize(values[holdout.known], sort=True, use_na_sentinel=False)
    sizes = np.bincount(codes, minlength=len(found)) * holdout.weight
    is_small = sizes < fewest
    if sizes[is_small].sum() > DIRT * sizes.sum():
        small = [f"{value} (about {int(size):,})" for value, size in zip(found[is_small], sizes[is_small], strict=True)]
        shown = ", ".join(small[:3]) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
        yield Finding(
            "slice-too-small",
            where.setting("gate", "slices"),
            f"slice {column!r} will have fewer than {fewest:,} rows in the holdout for {shown}: the gate cannot judge these",
            "Slice by something coarser, set a longer `windows.holdout`, or lower `gate.min_slice_rows`",
        )


def _blocks(block: str, timezone: str, holdout: _Expected, columns: Columns) -> int:
    """How many blocks the holdout has: days, weeks or values of a column."""
    if block not in BLOCKS:
        return len(pd.unique(columns[block][holdout.known])) * holdout.thinned
    timestamps = columns["event_timestamp"][holdout.known]
    if not holdout.covered:
        timestamps = np.arange(_naive(holdout.start), _naive(holdout.end), np.timedelta64(1, "D"))
    numbers = local_time(timestamps, timezone).astype("datetime64[D]").astype(np.int64)
    return len(np.unique(numbers if block == "day" else (numbers + 3) // 7))  # 1970-01-01 was a Thursday


def _naive(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.replace(tzinfo=None), "us")


def _span(timestamps: Array) -> tuple[np.datetime64, np.datetime64]:
    """The first and the last timestamp, without the earliest ones (a share of EARLIEST)."""
    ordered = np.sort(timestamps)
    return ordered[int(EARLIEST * len(ordered))], ordered[-1]
