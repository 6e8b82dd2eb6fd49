"""Values that their column cannot hold: `ratchet check` names the column once they are more than a few."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from authoring.check.sample import take_sample
from authoring.check.source_lines import Declaration
from authoring.check.unreadable import check_unreadable
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import SourceTable
from tests.support import noshow
from tests.support.runs import noshow_project
from tests.support.variants import with_use_case

TABLE = noshow.use_case.tables[0]


def found(root: Path, *values: float | None) -> list[str]:
    """What is said of appointments with a score, of which the first have these values."""
    schema = TABLE.schema.append(pa.field("score", pa.float64()))
    table = SourceTable(TABLE.name, schema, TABLE.key, TABLE.event_time, TABLE.known_at, TABLE.early, {})

    def loader(path: str, options: Mapping[str, Any], period: Any) -> list[Batch]:
        given = next(iter(noshow.clinic_feed(path, {"rows_per_week": 200, "weeks_per_batch": 1}, period)))
        rows = given.read()[0]
        scores = pa.array([*values, *range(len(values), len(rows))], pa.float64())
        return [Batch(TABLE.name, "week", "week", lambda: (rows.append_column("score", scores), []))]

    run = with_use_case(noshow_project(root), tables=(table,), sources={"clinic": loader})
    sample = take_sample(run)
    assert sample.tables[TABLE.name].num_rows == sample.rows - sum(value in (INFINITE, -INFINITE) for value in values)
    return [f"{one.what} {one.problem}" for one in check_unreadable(sample, Declaration(run))]


INFINITE = float("inf")


@pytest.mark.parametrize("value", [INFINITE, -INFINITE])
def test_many_infinite_values_are_named(tmp_path: Path, value: float) -> None:
    """The column, its table, how many rows there are, and one of the values."""
    (said,) = found(tmp_path, *[value] * 40)
    assert all(word in said for word in ("unreadable ", "'score'", "'appointments'", "40 of 200 values", f"'{value}'"))


@pytest.mark.parametrize("values", [(INFINITE,), (None, None, None)])
def test_a_few_are_left_to_the_pipeline(tmp_path: Path, values: tuple[float | None, ...]) -> None:
    """One bad row is quarantined and no mistake of the use case; nor is a missing value."""
    assert [] == found(tmp_path, *values)
