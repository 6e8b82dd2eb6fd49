"""Infinite values: `ratchet check` names the column, unless a rule rules such rows out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ratchet.check.declaration import Declaration
from ratchet.check.infinite import check_infinite
from ratchet.check.sample import take
from ratchet.use_case import Delivery, Rule, SourceTable, expect
from tests.support import noshow
from tests.support.projects import noshow_project
from tests.support.variants import with_use_case

TABLE = noshow.use_case.tables[0]
BOUNDS = {"column": "score", "min_value": -1e308, "max_value": 1e308}


def found(root: Path, value: float | None, rules: Mapping[str, Rule]) -> list[str]:
    """What is said of appointments with a score, one of which is this value."""
    schema = TABLE.schema.append(pa.field("score", pa.float64()))
    table = SourceTable(TABLE.name, schema, TABLE.key, TABLE.event_time, TABLE.known_at, TABLE.early, rules)

    def loader(path: str, options: Mapping[str, Any], period: Any) -> list[Delivery]:
        given = next(iter(noshow.clinic_feed(path, {"rows_per_week": 20}, period)))
        rows = given.read()[0]
        scores = pa.array([value, *range(1, len(rows))], pa.float64())
        return [Delivery(TABLE.name, "week", "week", lambda: (rows.append_column("score", scores), []))]

    project = with_use_case(noshow_project(root), tables=(table,), sources={"clinic": loader})
    sample = take(project)
    assert value is None or pc.any(pc.is_inf(sample.tables[TABLE.name]["score"])).as_py() != bool(rules)
    return [f"{one.what} {one.problem}" for one in check_infinite(sample, Declaration(project))]


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinite_value_is_named(tmp_path: Path, value: float) -> None:
    """The column, its table and how many rows there are."""
    (said,) = found(tmp_path, value, {})
    assert all(word in said for word in ("infinite ", "'score'", "'appointments'", "1 of 20 rows"))


def test_rows_that_a_rule_quarantines_are_left_out(tmp_path: Path) -> None:
    """Where a rule bounds the column, such rows are no part of the sample; missing values are no fault."""
    assert [] == found(tmp_path, float("inf"), {"infinite": expect("column_values_to_be_between", **BOUNDS)})
    assert [] == found(tmp_path, None, {})
