"""Find columns and predictions of a request that depend on the other requests of the same call.

Training and batch scoring compute all requests in one call, the online service computes one: the values would differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from authoring.check.declaration_checks import failure
from authoring.check.finding import Finding
from authoring.check.source_lines import Declaration
from ratchet.use_case.contract import Array, Columns, UseCase

PICKED = 20
"""The number of requests that are computed one by one."""


def check_rows(use_case: UseCase, asked: Columns, columns: Columns, where: Declaration) -> Iterator[Finding]:
    """`asked` are requests with their features. `columns` is the result of `on_demand` for all of them at once."""
    place, rows = where.function(use_case.on_demand), len(columns["event_timestamp"])
    for name, values in columns.items():
        if np.shape(values) != (rows,):
            yield _not_one_each(f"`on_demand` gives column {name!r}", values, rows, place)
            return
    picked = _picked(rows)
    try:
        each = [use_case.complete(_row(asked, row)) for row in picked]
    except Exception as error:  # noqa: BLE001 - it may raise anything
        yield failure("`on_demand`, of one request by itself,", use_case.on_demand, error, where)
        return
    unequal = [name for name in columns if not _same(columns[name], [one[name] for one in each], picked)]
    if unequal:
        yield _depends(f"`on_demand` gives a different {', '.join(map(repr, unequal))}", place)


def check_predictions(use_case: UseCase, columns: Columns, numbers: Array, where: Declaration) -> Iterator[Finding]:
    """The same check for `postprocess`. `numbers` are like a model's predictions."""
    place, picked = where.function(use_case.postprocess), _picked(len(numbers))
    try:
        predictions = use_case.postprocess(columns, numbers)
        each = [use_case.postprocess(_row(columns, row), numbers[[row]]) for row in picked]
    except Exception as error:  # noqa: BLE001 - it may raise anything
        yield failure("`postprocess`", use_case.postprocess, error, where)
        return
    if np.shape(predictions) != numbers.shape:
        yield _not_one_each("`postprocess` gives predictions", predictions, len(numbers), place)
    elif not _same(predictions, each, picked):
        yield _depends("`postprocess` gives a different prediction", place)


def _not_one_each(subject: str, values: Array, rows: int, place: str) -> Finding:
    problem = f"{subject} of shape {np.shape(values)} for {rows:,} requests"
    return Finding("not-one-each", place, problem, "Return an array with one value for each request")


def _depends(problem: str, place: str) -> Finding:
    return Finding(
        "depends-on-others",
        place,
        f"{problem} for a request alone than among others, so that online answers would differ from training",
        "Compute each row from its own columns. What depends on other rows, such as their mean, belongs in a view",
    )


def _picked(rows: int) -> Array:
    return np.unique(np.linspace(0, rows - 1, PICKED).astype(np.int64))


def _row(columns: Columns, row: int) -> dict[str, Array]:
    return {name: column[[row]] for name, column in columns.items()}


def _same(together: Array, each: Sequence[Array], picked: Array) -> bool:
    """Whether each row alone gives one value, the same as among all rows, within the rounding of vectorised functions."""
    if any(np.shape(one) != (1,) for one in each):
        return False
    some, alone = together[picked], np.concatenate(each)
    if some.dtype.kind == alone.dtype.kind == "f":
        return bool(np.allclose(some, alone, rtol=1e-9, atol=1e-12, equal_nan=True))
    return bool(np.all((some == alone) | (pd.isna(some) & pd.isna(alone))))
